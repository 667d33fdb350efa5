"""The part of the benchmarks that the command ``python -m pixelrnn_ext bench`` needs. It depends on torch alone."""
