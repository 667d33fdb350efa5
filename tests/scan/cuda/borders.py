"""Computes ``neighbour_states`` and ``border_sums`` in PyTorch, for tests of their CUDA kernels."""

import torch

from pixelrnn_ext.operators.scan.arguments import Scan
from pixelrnn_ext.operators.scan.products import displaced_states
from pixelrnn_ext.operators.scan.sizes import inside_mask


def neighbour_states(m, border, sizes, corners, diagonal, taps, first, count):
    weight = m.new_empty(len(corners), taps, m.shape[-1], 4, m.shape[-1])
    s = Scan(None, None, None, m, weight, None, None, None, sizes, corners, diagonal, 1, "pixelrnn", "none")
    return displaced_states(m, border, s, first, count)


def border_sums(dx, sizes, corners, diagonal, taps):
    """Sums the gradient ``dx`` over the cells that read outside of the image.

    A cell reads several neighbours. For each of these neighbours there is a separate sum, over the cells for which this
    neighbour is outside of the image.
    """
    inside = torch.ones(*dx.shape[1:4], len(corners), 1, dtype=torch.float64)
    outside = 1 - neighbour_states(inside, None, sizes, corners, diagonal, taps, 0, taps).squeeze(-1)
    dx = dx.double()
    if sizes is not None:
        dx = torch.where(inside_mask(sizes, *dx.shape[2:4], dx.device)[..., None], dx, 0)
    return torch.einsum("dbijc,dbijt->dbtc", dx, outside)
