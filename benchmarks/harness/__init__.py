"""The harness of the benchmarks above pixelrnn_ext/benchmark; docs/architecture.md has a table of both."""
