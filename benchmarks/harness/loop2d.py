"""Computes LSTM2d by an efficient loop in PyTorch: one batched product for all directions on each anti-diagonal."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pixelrnn_ext.benchmark.problems import Size
from pixelrnn_ext.directions import CORNERS


class Lines:
    """The order in which each direction of an LSTM2d visits the pixels of a batch.

    Each direction mirrors the images, not their padding, so that it starts in their top left corners.
    """

    def __init__(self, size: Size, corners: Sequence[str], sizes: Tensor | None) -> None:
        n, height, width = size.batch, size.height, size.width
        lines = height + width - 1
        self.rows = [range(max(0, t - width + 1), min(t, height - 1) + 1) for t in range(lines)]
        # Mask (N, H, W, 1) of the pixels inside their images.
        self.inside = None
        heights, widths = torch.tensor([height, width]).expand(n, 2).T
        if sizes is not None:
            heights, widths = sizes.T
            rows, columns = torch.arange(height)[:, None, None], torch.arange(width)[:, None]
            self.inside = (rows < sizes[:, :1, None, None]) & (columns < sizes[:, 1:, None, None])
        r, c = torch.tensor([(r, t - r) for t, rows in enumerate(self.rows) for r in rows]).T[..., None]
        in_image = (r < heights) & (c < widths)  # shape (H * W, N)

        def pixel(row_sense: int, column_sense: int) -> Tensor:
            row = r if row_sense > 0 else torch.where(in_image, heights - 1 - r, r)
            column = c if column_sense > 0 else torch.where(in_image, widths - 1 - c, c)
            return ((torch.arange(n) * height + row) * width + column).flatten()

        d = torch.arange(len(corners))
        # pixel[direction, v] is the index of the v-th pixel that the direction visits. The array `visit` is the
        # inverse: it holds the position v of each pixel in each direction.
        self.pixel = torch.stack([pixel(*CORNERS[corner]) for corner in corners])
        self.visit = (self.pixel.argsort(1) + d[:, None] * size.cells).T
        # The results form a matrix of shape (N * H * W * directions, hidden). output[direction, v] is the row of this
        # matrix for the v-th pixel that the direction visits.
        self.output = self.pixel * len(corners) + d[:, None]


def lstm2d_good_loop(lines: Lines, input: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias: Tensor) -> Tensor:
    """Computes reference.lstm2d with the cell "stable", from zero initial states, merged by "concat".

    weight_ih is (D, 5 * hidden, C, 1, 1), weight_hh is (D, 5 * hidden, hidden, 2) for the pixels above and to the left,
    and bias is (D, 5 * hidden). ``input`` is fastest in channels_last.
    """
    (n, channels, height, width), (directions, _, hidden, _) = input.shape, weight_hh.shape
    pixels = input.permute(0, 2, 3, 1)
    if lines.inside is not None:
        pixels = torch.where(lines.inside, pixels, 0)
    x = _Rows.apply(pixels.flatten(0, 2), lines.pixel.flatten(), lines.visit).view(directions, -1, n, channels)
    # Separate products of the input and the states would need additions, which read and write the results again.
    weight = _tanh_last(torch.cat([weight_ih.flatten(2), weight_hh.permute(0, 1, 3, 2).flatten(2)], 2).transpose(1, 2))
    bias = _tanh_last(bias[:, None])
    h = c = x.new_zeros(directions, 0, n, hidden)
    first, maps = 0, []
    for rows, line in zip(lines.rows, x.split([len(rows) for rows in lines.rows], 1)):
        k, first = rows.start - first, rows.start
        up, left = slice(k, k + len(rows)), slice(k + 1, k + 1 + len(rows))
        h, c = (F.pad(state, (0, 0, 0, 0, 1, 1)) for state in (h, c))
        z = torch.baddbmm(bias, torch.cat([line, h[:, up], h[:, left]], 3).flatten(1, 2), weight)
        sigmoids, g = z.view(directions, len(rows), n, -1).split([4 * hidden, hidden], 3)
        i, f, o, lambda_ = sigmoids.sigmoid().chunk(4, 3)
        c = torch.addcmul(i * g.tanh(), f, torch.lerp(c[:, left], c[:, up], lambda_))
        h = o * c.tanh()
        maps.append(h)
    y = _Rows.apply(torch.cat(maps, 1).view(-1, hidden), lines.visit.flatten(), lines.output.view(-1, 1))
    y = y.view(n, height, width, directions * hidden)
    if lines.inside is not None:
        y = torch.where(lines.inside, y, 0)
    return y.permute(0, 3, 1, 2)


def _tanh_last(gates: Tensor) -> Tensor:
    """Moves g, the only gate with a tanh, to the end, so that one call computes all sigmoids."""
    i, f, g, *others = gates.chunk(5, 2)
    return torch.cat([i, f, *others, g], 2)


class _Rows(torch.autograd.Function):
    """Selects rows of a matrix. The backward of index_select would scatter the gradients, this one gathers them.

    For each row of the matrix, ``uses`` lists the positions in ``index`` that select it.
    """

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, index: Tensor, uses: Tensor) -> Tensor:
        ctx.save_for_backward(uses)
        return matrix.index_select(0, index)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (uses,) = ctx.saved_tensors
        return gradient.index_select(0, uses.flatten()).view(*uses.shape, -1).sum(1), None, None
