"""The probability distribution of a value given its logits (sections 2 and 3.6).

The distribution is a softmax over the levels, that is, over the values that are possible. With two levels it is a
Bernoulli distribution. Logits are (N, levels, C, H, W). With two levels they may be (N, 1, C, H, W), the logit of the
value 1. Values are integers (N, C, H, W).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .operators import columns
from .operators import likelihood as operators


def logit_channels(levels: int) -> int:
    """Returns the number of logits of a value: 1 for two levels, otherwise the number of levels."""
    return 1 if levels == 2 else levels


def log_prob(logits: Tensor, values: Tensor) -> Tensor:
    """Returns the log-probability of every value in nats, (N, C, H, W), in float32, or float64 for float64 logits."""
    n, count, *rest = logits.shape
    if values.shape != (n, *rest):
        raise ValueError(f"expected values of shape {(n, *rest)}, got {tuple(values.shape)}")
    if count == 1:
        wide = logits.squeeze(1).to(torch.promote_types(logits.dtype, torch.float32))
        # F.binary_cross_entropy_with_logits would give NaN for a logit of minus infinity.
        return F.logsigmoid(wide * (2 * values.to(wide.dtype) - 1))
    # A model's logits are contiguous with the levels last, because the model's maps are in channels_last format.
    by_pixel, values = logits.permute(0, 3, 4, 2, 1), values.long().permute(0, 2, 3, 1)
    return operators.log_prob(by_pixel, values).permute(0, 3, 1, 2)


def bits_per_dim(log_prob: Tensor, dimensions: int) -> Tensor:
    """Returns the mean negative log-likelihood of images, in bits per value.

    ``log_prob`` is (N,), in nats, and ``dimensions`` is the number of values of an image.
    """
    return -log_prob.mean() / (dimensions * math.log(2))


def draw(logits: Tensor, uniform: Tensor, temperature: float) -> Tensor:
    """Draws a value from each distribution that ``logits`` give. Returns an int64 tensor of the shape of ``uniform``.

    A value is the first level whose cumulative probability, computed in float64, exceeds the value's number in
    ``uniform``. ``logits`` are (..., levels), or (..., 1) for two levels. ``uniform`` is (...) of float64 in [0, 1).
    ``temperature`` divides the logits, and 0 gives the most likely value.

    Raises:
        FloatingPointError: a probability is NaN, since a logit is NaN or infinity, or all logits are minus infinity. On
            a GPU, which the call does not wait for, this is a device error.
    """
    values = draw_or_mark(logits, uniform, temperature)
    check_drawn(values, "the logits")
    return values


def draw_or_mark(logits: Tensor, uniform: Tensor, temperature: float) -> Tensor:
    """Does the same as :func:`draw`, but a value is -1 if a probability is NaN, as in the compiled kernels."""
    logits = logits.double()
    if logits.shape[-1] == 1:
        logits = F.pad(logits, (1, 0))
    below_top = logits - logits.amax(-1, keepdim=True)
    if temperature == 0:
        return logits.argmax(-1).masked_fill(below_top.sum(-1).isnan(), -1)
    cumulative = (below_top / temperature).exp().cumsum(-1)
    passed = cumulative[..., :-1] <= uniform.unsqueeze(-1) * cumulative[..., -1:]
    return passed.sum(-1).masked_fill(cumulative[..., -1].isnan(), -1)


def check_drawn(values: Tensor, network: str) -> None:
    """Raises FloatingPointError if a value is -1, which marks that ``network`` gave NaN as a probability.

    On a GPU this is a device error instead, so that the CPU does not wait for the values.
    """
    expected = f"expected {network} to give probabilities"
    if columns.is_gpu(values.device):
        torch.ops.aten._assert_async.msg((values >= 0).all(), expected)
    elif (values < 0).any():
        why = "a weight or the condition is not finite, or too large"
        raise FloatingPointError(f"{expected}, got NaN: {why}")
