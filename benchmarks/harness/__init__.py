"""Harness of the developers' benchmarks, on top of pixelrnn_ext/benchmark (docs/architecture.md)."""
