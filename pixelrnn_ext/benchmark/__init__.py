"""The harness of the benchmarks, as far as ``python -m pixelrnn_ext bench`` needs it: torch alone.

In a checkout, benchmarks/harness adds cases, requirements and pictures. docs/architecture.md has a table of the files.
"""
