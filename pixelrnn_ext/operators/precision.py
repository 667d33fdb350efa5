"""Asks torch in which precision the operators may multiply."""

import torch


def allows_tf32() -> bool:
    """Returns whether torch may compute float32 matrix products in tf32, by whichever of its settings."""
    return torch.backends.cuda.matmul.fp32_precision == "tf32"


# torch.compiler.assume_constant_result only sets this, but first imports the whole compiler and sympy: one second.
allows_tf32._dynamo_marked_constant = True  # type: ignore[attr-defined]  # torch looks for it on the function
