"""Error bounds for tests of the CUDA kernels, by number format.

A bound is the RMS of the error, divided by the RMS of the exact result.
"""

EMULATED = {"fp64": 1e-14, "fp32": 1e-6, "tf32": 5e-4, "bf16": 5e-3, "fp16": 1e-3}
# Gradients of weights and initial states are sums whose terms partly cancel. This factor widens their bounds.
EMULATED_SUMS = 2
# On a real GPU, cuBLAS computes the products outside of the recurrence. docs/kernels_verified.md derives the bounds for
# tf32.
REAL_GPU = EMULATED | {"fp64": 1e-13, "tf32": 1e-3}
# Rounding the hidden states alone causes gradient errors of 2e-3 to 3e-3 in bfloat16, and 3e-4 in float16.
REAL_GPU_GRADIENTS = {format: 3 * ratio for format, ratio in REAL_GPU.items()} | {"tf32": 2e-3}
