"""Computes LSTM2d by an efficient loop in PyTorch: one matrix product an anti-diagonal, for all directions at once."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pixelrnn_ext.benchmark.problems import Size
from pixelrnn_ext.directions import CORNERS


class Lines:
    """The order in which each direction visits the pixels of a batch. The order depends on no parameter.

    Line t is the anti-diagonal of the pixels (r, t - r) of all images, row by row. Each direction flips an image within
    its own size, so that all images begin in the top left corner, and no padding precedes a pixel.
    """

    def __init__(self, size: Size, corners: Sequence[str], sizes: Tensor | None) -> None:
        n, height, width = size.batch, size.height, size.width
        lines = height + width - 1
        self.rows = [range(max(0, t - width + 1), min(t, height - 1) + 1) for t in range(lines)]
        self.inside = None  # or a mask (N, H, W, 1)
        heights, widths = torch.tensor([height, width]).expand(n, 2).T
        if sizes is not None:
            heights, widths = sizes.T
            rows, columns = torch.arange(height)[:, None, None], torch.arange(width)[:, None]
            self.inside = (rows < sizes[:, :1, None, None]) & (columns < sizes[:, 1:, None, None])
        r, c = torch.tensor([(r, t - r) for t, rows in enumerate(self.rows) for r in rows]).T[..., None]
        in_image = (r < heights) & (c < widths)  # (H * W, N)

        def pixel(row_sense: int, column_sense: int) -> Tensor:
            row = r if row_sense > 0 else torch.where(in_image, heights - 1 - r, r)
            column = c if column_sense > 0 else torch.where(in_image, widths - 1 - c, c)
            return ((torch.arange(n) * height + row) * width + column).flatten()

        d = torch.arange(len(corners))
        # pixel[direction, visit] is the index of a pixel. Visits are ordered by line, row and image. visit[pixel,
        # direction] is the index of the pixel's visit in the flattened ``pixel``.
        self.pixel = torch.stack([pixel(*CORNERS[corner]) for corner in corners])
        self.visit = (self.pixel.argsort(1) + d[:, None] * size.cells).T
        self.output = self.pixel * len(corners) + d[:, None]  # each visit's row in the output (N * H * W * D, hidden)


def lstm2d_good_loop(lines: Lines, input: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias: Tensor) -> Tensor:
    """Computes reference.lstm2d with the cell "stable", from zero states, merged by "concat".

    Args:
        input: (N, C, H, W), best in channels_last.
        weight_ih, weight_hh, bias: (D, 5 * hidden, C, 1, 1), (D, 5 * hidden, hidden, 2), (D, 5 * hidden), stacked from
            the Direction2d of all directions.
    """
    (n, channels, height, width), (directions, _, hidden, _) = input.shape, weight_hh.shape
    pixels = input.permute(0, 2, 3, 1)
    if lines.inside is not None:
        pixels = torch.where(lines.inside, pixels, 0)
    x = _Rows.apply(pixels.flatten(0, 2), lines.pixel.flatten(), lines.visit).view(directions, -1, n, channels)
    # One product for the input and both neighbours saves a pass over the line.
    weight = _tanh_last(torch.cat([weight_ih.flatten(2), weight_hh.permute(0, 1, 3, 2).flatten(2)], 2).transpose(1, 2))
    bias = _tanh_last(bias[:, None])
    h = c = x.new_zeros(directions, 0, n, hidden)
    first, maps = 0, []
    for rows, line in zip(lines.rows, x.split([len(rows) for rows in lines.rows], 1)):
        k, first = rows.start - first, rows.start
        up, left = slice(k, k + len(rows)), slice(k + 1, k + 1 + len(rows))
        h, c = (F.pad(state, (0, 0, 0, 0, 1, 1)) for state in (h, c))  # zero borders around the previous line
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
    """Moves gate g behind i, f, o and lambda, so that one call computes the four sigmoids."""
    i, f, g, *others = gates.chunk(5, 2)
    return torch.cat([i, f, *others, g], 2)


class _Rows(torch.autograd.Function):
    """Selects rows of a matrix by index. The backward gathers rows, where index_select's would scatter and add.

    ``uses`` lists, for each row of the matrix, its positions in ``index``.
    """

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, index: Tensor, uses: Tensor) -> Tensor:
        ctx.save_for_backward(uses)
        return matrix.index_select(0, index)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (uses,) = ctx.saved_tensors
        return gradient.index_select(0, uses.flatten()).view(*uses.shape, -1).sum(1), None, None
