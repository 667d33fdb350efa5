"""Reads torch's settings of precision."""

import torch


def allows_tf32() -> bool:
    """Returns whether torch's settings allow float32 matrix products in tf32."""
    return torch.backends.cuda.matmul.fp32_precision == "tf32"


# torch.compile treats the result as a constant. torch.compiler.assume_constant_result takes a second to do the same.
allows_tf32._dynamo_marked_constant = True  # type: ignore[attr-defined]
