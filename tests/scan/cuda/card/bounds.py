"""What the tests on a GPU allow: RMS of the error over RMS, by format. Those of tf32 are derived in
docs/kernels_verified.md."""

# Of h.
RATIO = {"fp64": 1e-13, "fp32": 1e-6, "tf32": 1e-3, "bf16": 5e-3, "fp16": 1e-3}
# A gradient has gone through the rounding of the maps and of dx, and a sum over the map. With every map rounded, and
# all else exact, it has the error of h: 2e-3 to 3e-3 in bfloat16, 3e-4 in float16.
GRADIENT_RATIO = {format: 3 * ratio for format, ratio in RATIO.items()} | {"tf32": 2e-3}
