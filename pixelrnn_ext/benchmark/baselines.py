"""PyTorch loops that the kernels are compared with.

Every loop takes x (N, 4 * hidden, H, W), the pre-activations without the recurrent product, and weight_hh (4 * hidden,
hidden, taps). It returns h (N, hidden, H, W).
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import reference

diagonal_good_loop: Callable[..., Tensor] = reference.diagonal_scan
row_good_loop: Callable[..., Tensor] = reference.row_scan


def diagonal_loop_as_written(x: Tensor, weight_hh: Tensor) -> Tensor:
    """Loops over the diagonals of a skewed copy of x.

    The time of the backward pass grows with the square of the number of diagonals.
    """
    n, gates, height, width = x.shape
    xs = x.new_zeros(n, gates, height, width + height - 1)
    for r in range(height):
        xs[:, :, r, r : r + width] = x[:, :, r]
    skewed = _loop_as_written(xs, 3, weight_hh.shape[1], lambda h: F.conv1d(F.pad(h, (1, 0)), weight_hh))
    return torch.stack([skewed[:, :, r, r : r + width] for r in range(height)], 2)


def row_loop_as_written(x: Tensor, weight_hh: Tensor) -> Tensor:
    _, hidden, taps = weight_hh.shape
    return _loop_as_written(x, 2, hidden, lambda h: F.conv1d(h, weight_hh, padding=taps // 2))


def _loop_as_written(x: Tensor, dim: int, hidden: int, state_to_state: Callable[[Tensor], Tensor]) -> Tensor:
    """Runs an LSTM along the axis ``dim`` of x. Returns h of all steps."""
    h = c = x.new_zeros(x.shape[0], hidden, x.shape[5 - dim])
    states = []
    for t in range(x.shape[dim]):
        i, f, g, o = (x.select(dim, t) + state_to_state(h)).chunk(4, dim=1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        states.append(h)
    return torch.stack(states, dim)
