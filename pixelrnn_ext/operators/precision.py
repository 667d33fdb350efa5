"""In which precision torch lets the operators multiply."""

import torch


def allows_tf32() -> bool:
    """Whether torch may compute float32 matrix products in tf32, by whichever of its settings."""
    return torch.backends.cuda.matmul.fp32_precision == "tf32"


# All that torch.compiler.assume_constant_result does, which imports the whole compiler first: a second, and sympy.
allows_tf32._dynamo_marked_constant = True  # type: ignore[attr-defined]  # torch looks for it on the function
