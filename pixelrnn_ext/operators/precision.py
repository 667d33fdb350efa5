"""Reads torch's settings of the precision of float32 matrix products."""

import torch


def allows_tf32() -> bool:
    return torch.backends.cuda.matmul.fp32_precision == "tf32"


# This attribute makes torch.compile treat the function's result as a constant. torch.compiler.assume_constant_result
# sets the same attribute, but it also imports torch._dynamo, which takes about one second.
allows_tf32._dynamo_marked_constant = True  # type: ignore[attr-defined]
