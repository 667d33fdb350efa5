"""Reads torch's settings of the precision of float32 matrix products."""

import torch


def allows_tf32() -> bool:
    """Returns whether torch's settings allow float32 matrix products in tf32, which is faster and less precise."""
    return torch.backends.cuda.matmul.fp32_precision == "tf32"


# Makes torch.compile treat the function's result as a constant. The decorator torch.compiler.assume_constant_result
# does the same, but applying it takes one second.
allows_tf32._dynamo_marked_constant = True  # type: ignore[attr-defined]
