"""The part of the benchmark harness that ``python -m pixelrnn_ext bench`` needs. It depends on torch alone."""
