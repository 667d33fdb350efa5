"""The scan of a two-dimensional LSTM in differentiable PyTorch, on the operands that its kernels take."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ... import reference
from ...cells import CELLS
from .rows import by_gate


def lstm2d_scan(
    x: Tensor,
    weight: Tensor,
    h0: Tensor | None,
    c0: Tensor | None,
    peephole: Tensor | None,
    sizes: Tensor | None,
    cell: str,
    corners: Sequence[str],
    path: str = "auto",
) -> Tensor:
    """h of all directions; zero outside the images.

    Args:
        x: [D, B, H, W, G * h], the input's product and the bias, gates in the order of rows.py, as those of ``weight``.
        weight: [D, 2, G * h, h], the taps up and left.
        h0, c0: [D, h].
        peephole: [D, 4, h].
        sizes: [B, 2], height and width of each image; clamped to those of the map. None: all are as large as the map.
        cell: a name of :data:`pixelrnn_ext.cells.CELLS`, of G gates.
        corners: D of :data:`pixelrnn_ext.directions.CORNERS`.
        path: of the kernels; it does not matter here.

    Returns:
        [B, H, W, D, h].
    """
    gates = len(CELLS[cell].gates)
    x, weight = by_gate(x, gates, 4), by_gate(weight, gates, 2)

    def scan(d: int, corner: str) -> Tensor:
        h0_d, c0_d, peephole_d = (None if t is None else t[d] for t in (h0, c0, peephole))

        def run(x: Tensor) -> Tensor:
            weight_hh = weight[d].permute(1, 2, 0)
            return reference.diagonal_scan(x, weight_hh, h0_d, c0_d, peephole_d, cell=cell, corner=corner)

        return reference.of_each_image(run, x[d].permute(0, 3, 1, 2), sizes).permute(0, 2, 3, 1)

    return torch.stack([scan(d, corner) for d, corner in enumerate(corners)], 3)
