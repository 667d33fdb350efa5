"""Error bounds by format: the RMS of the error over the RMS of the result."""

EMULATED = {"fp64": 1e-14, "fp32": 1e-6, "tf32": 5e-4, "bf16": 5e-3, "fp16": 1e-3}
# This factor widens the bounds for gradients of weights and states. They sum over rounded maps and partly cancel.
EMULATED_SUMS = 2
# On a card cuBLAS computes the products around the recurrence. docs/kernels_verified.md derives the bounds of tf32.
CARD = EMULATED | {"fp64": 1e-13, "tf32": 1e-3}
# A gradient is a sum over dx and rounded maps. If all else is exact, its error is the error of h: 2e-3 to 3e-3 in
# bfloat16, 3e-4 in float16.
CARD_GRADIENTS = {format: 3 * ratio for format, ratio in CARD.items()} | {"tf32": 2e-3}
