"""What the kernels are compared with: the recurrences as PyTorch loops, and the bare matrix products in them.

Every loop takes the input-to-state map x (N, 4 * hidden, H, W) and weight_hh (4 * hidden, hidden, taps), as
pixelrnn_ext.reference does, and returns h (N, hidden, H, W).
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import reference
from ..cells import update


def diagonal_good_loop(x: Tensor, weight_hh: Tensor) -> Tensor:
    """The loop of reference.diagonal_lstm from zero states: a skew without a loop, unbind, one matmul a step."""
    (n, _, height, width), hidden = x.shape, weight_hh.shape[1]
    weight = weight_hh.permute(2, 1, 0).flatten(0, 1)
    h = c = x.new_zeros(n, height, hidden)
    border = x.new_zeros(n, 1, hidden)
    columns = []
    for gates in reference.skew(x).permute(3, 0, 2, 1).unbind():
        above = torch.cat([border, h[:, :-1]], 1)
        h, c, _ = update("pixelrnn", gates + torch.cat([above, h], 2) @ weight, c, c)
        columns.append(h)
    return reference.unskew(torch.stack(columns, 3).transpose(1, 2), width)


def row_good_loop(x: Tensor, weight_hh: Tensor) -> Tensor:
    """The loop of reference.row_lstm from zero states: unbind, one matmul a step over all taps."""
    (n, _, _, width), (_, hidden, taps) = x.shape, weight_hh.shape
    weight = weight_hh.permute(2, 1, 0).flatten(0, 1)
    h = c = x.new_zeros(n, width, hidden)
    border = x.new_zeros(n, taps // 2, hidden)
    rows = []
    for gates in x.permute(2, 0, 3, 1).unbind():
        above = torch.cat([border, h, border], 1)
        neighbours = torch.cat([above[:, k : k + width] for k in range(taps)], 2)
        h, c, _ = update("pixelrnn", gates + neighbours @ weight, c, c)
        rows.append(h)
    return torch.stack(rows, 1).permute(0, 3, 1, 2)


def diagonal_loop_as_written(x: Tensor, weight_hh: Tensor) -> Tensor:
    """As people write it: rows assigned into a skewed buffer, indexed in the loop. Its backward is quadratic in T."""
    (n, gates, height, width), hidden = x.shape, weight_hh.shape[1]
    xs = x.new_zeros(n, gates, height, width + height - 1)
    for r in range(height):
        xs[:, :, r, r : r + width] = x[:, :, r]
    h = c = x.new_zeros(n, hidden, height)
    columns = []
    for t in range(width + height - 1):
        h, c = _channels_first_cell(xs[:, :, :, t] + F.conv1d(F.pad(h, (1, 0)), weight_hh), c)
        columns.append(h)
    skewed = torch.stack(columns, 3)
    return torch.stack([skewed[:, :, r, r : r + width] for r in range(height)], 2)


def row_loop_as_written(x: Tensor, weight_hh: Tensor) -> Tensor:
    """As people write it: the map indexed in the loop, a conv1d a step."""
    (n, _, height, width), (_, hidden, taps) = x.shape, weight_hh.shape
    h = c = x.new_zeros(n, hidden, width)
    rows = []
    for r in range(height):
        h, c = _channels_first_cell(x[:, :, r] + F.conv1d(h, weight_hh, padding=taps // 2), c)
        rows.append(h)
    return torch.stack(rows, 2)


def _channels_first_cell(gates: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    i, f, g, o = gates.chunk(4, dim=1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


_Product = tuple[Tensor, Tensor, Tensor | None]  # the two factors, and where it goes


class GemmFloor:
    """One whole-map product for each matrix product of a recurrence: [cells, k] x [k, gates * hidden], its two
    gradients.

    ``k`` is the number of values that a cell's gates are computed from. With ``into_given_memory`` the results
    overwrite existing tensors, which spares the page faults of fresh ones.
    """

    def __init__(
        self,
        cells: int,
        k: int,
        hidden: int,
        dtype: torch.dtype,
        directions: int = 1,
        into_given_memory: bool = False,
        gates: int = 4,
    ) -> None:
        self.name: str = "GEMM floor, out=" if into_given_memory else "GEMM floor"
        self.directions: int = directions
        a, b = torch.randn(cells, k, dtype=dtype), torch.randn(k, gates * hidden, dtype=dtype)
        dout, bt = torch.randn(cells, gates * hidden, dtype=dtype), b.t().contiguous()
        out = da = db = None
        if into_given_memory:
            out, da, db = torch.empty_like(dout), torch.empty_like(a), torch.empty_like(b)
        self.forward: list[_Product] = [(a, b, out)]
        self.backward: list[_Product] = [(dout, bt, da), (a.t(), dout, db)]

    def step(self, mode: str) -> Callable[[], None]:
        """A function that does the products of ``mode`` once."""
        products = {"forward": self.forward, "backward": self.backward}.get(mode, self.forward + self.backward)
        products = products * self.directions

        def run() -> None:
            for a, b, out in products:
                torch.mm(a, b, out=out)

        return run
