"""Error bounds for tests of the CUDA kernels, by number format.

A bound is a ratio: the root mean square (RMS) of the error over the RMS of the exact result.
"""

EMULATED = {"fp64": 1e-14, "fp32": 1e-6, "tf32": 5e-4, "bf16": 5e-3, "fp16": 1e-3}
# On the emulator, bounds for gradients of weights and initial states are wider by this factor. These gradients are sums
# whose terms partly cancel.
EMULATED_SUMS = 2
# Bounds on a real GPU. There, cuBLAS computes the matrix products before and after the recurrence.
# docs/kernels_verified.md derives the bounds for tf32.
CARD = EMULATED | {"fp64": 1e-13, "tf32": 1e-3}
# Bounds for gradients on a real GPU. The rounding error of the hidden state h alone gives gradients error ratios of
# 2e-3 to 3e-3 in bfloat16, and 3e-4 in float16.
CARD_GRADIENTS = {format: 3 * ratio for format, ratio in CARD.items()} | {"tf32": 2e-3}
