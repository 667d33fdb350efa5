"""Reads torch's settings of the precision of float32 matrix products."""

import torch


def allows_tf32() -> bool:
    return torch.backends.cuda.matmul.fp32_precision == "tf32"


# Makes torch.compile treat the result as a constant. torch.compiler.assume_constant_result does the same, but takes a
# second.
allows_tf32._dynamo_marked_constant = True  # type: ignore[attr-defined]
