"""The harness that the developers' benchmarks share. It builds on pixelrnn_ext/benchmark (docs/architecture.md)."""
