"""The part of the benchmark harness that ``python -m pixelrnn_ext bench`` needs. It depends on torch alone.

In a checkout, benchmarks/harness adds cases, requirements and pictures. docs/architecture.md has a table of the files.
"""
