"""All that a GPU is needed for, in one command: `python -m benchmarks.gpu_day --help`."""
