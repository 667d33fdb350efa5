"""What the tests of this folder allow: RMS of the error over RMS of the result, by format."""

# On the emulator every rounding is ours.
EMULATED = {"fp64": 1e-14, "fp32": 1e-6, "tf32": 5e-4, "bf16": 5e-3, "fp16": 1e-3}
# The gradients of weights and states are sums over maps that are rounded already, and partly cancel.
EMULATED_SUMS = 2
# On a card the products around the recurrence are those of cuBLAS. docs/kernels_verified.md derives the bounds of tf32.
CARD = EMULATED | {"fp64": 1e-13, "tf32": 1e-3}
# A gradient has gone through the rounding of the maps and of dx, and a sum over the map. With every map rounded, and
# all else exact, it has the error of h: 2e-3 to 3e-3 in bfloat16, 3e-4 in float16.
CARD_GRADIENTS = {format: 3 * ratio for format, ratio in CARD.items()} | {"tf32": 2e-3}
