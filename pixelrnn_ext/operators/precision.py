"""Reads torch's settings of the precision of float32 products on a GPU."""

from typing import Literal

import torch


def allows_tf32(layer: Literal["rnn", "conv"]) -> bool:
    """Returns whether torch lets cuDNN compute nn.LSTM ("rnn") or nn.Conv2d ("conv") in tf32.

    The layers replace nn.LSTM and nn.Conv2d, so their kernels follow the same settings. The older setting
    ``torch.backends.cudnn.allow_tf32`` changes both. It raises an error when it is read while the two differ, so it is
    not read here.
    """
    precision: str = getattr(torch.backends.cudnn, layer).fp32_precision
    return precision == "tf32"


# This attribute makes torch.compile treat the function's result as a constant. torch.compiler.assume_constant_result
# sets the same attribute, but it also imports torch._dynamo, which takes about one second.
allows_tf32._dynamo_marked_constant = True  # type: ignore[attr-defined]
