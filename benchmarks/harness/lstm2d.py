"""Cases of LSTM2d with the cell "stable"."""

import math
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

import pixelrnn_ext as px
from pixelrnn_ext._sentences import counted
from pixelrnn_ext.benchmark.problems import BASELINE, NATIVE, Case, Problem, Size, exact_layer, from_layer, with_backend
from pixelrnn_ext.benchmark.products import Products
from pixelrnn_ext.cells import CELLS

from .loop2d import Lines, lstm2d_good_loop

FOUR_GATES, ONE_DIRECTION, PADDED = (f"{NATIVE}, {what}" for what in ("4 gates", "1 direction", "padded"))
# These two baselines are nn.LSTM layers with about as many multiplications per pixel as LSTM2d.
PIXELS = "nn.LSTM over pixels (another function)"
ROWS_AND_COLUMNS = "nn.LSTM along rows and columns (another function)"
_CELL = "stable"


def ragged_sizes(size: Size) -> Tensor:
    """Returns ragged image sizes (N, 2). The widths are 0.3 to 1 times the full width, in random order."""
    with torch.device("cpu"):
        widths = torch.linspace(0.3 * size.width, size.width, size.batch).round().long()
        widths = widths[torch.randperm(size.batch, generator=torch.Generator().manual_seed(0))]
        return torch.stack([torch.full_like(widths, size.height), widths], 1)


def area_fraction(size: Size) -> float:
    return int(ragged_sizes(size).prod(1).sum()) / size.cells


class OverPixels(nn.Module):
    """Runs an nn.LSTM over the pixels of each image, row by row. The input is (pixels, images, channels)."""

    def __init__(self, channels: int, products: int, bidirectional: bool, dtype: torch.dtype) -> None:
        super().__init__()
        self.along_image = _lstm(channels, products, bidirectional, dtype)

    def forward(self, x: Tensor) -> Tensor:
        return self.along_image(x)[0]


class AlongRowsAndColumns(nn.Module):
    def __init__(self, channels: int, products: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.along_row, self.along_column = (_lstm(channels, products / 2, True, dtype) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        n, _, height, width = x.shape
        along_width, along_height = x.permute(3, 0, 2, 1), x.permute(2, 0, 3, 1)
        rows = self.along_row(along_width.flatten(1, 2))[0].unflatten(1, (n, height)).permute(1, 3, 2, 0)
        columns = self.along_column(along_height.flatten(1, 2))[0].unflatten(1, (n, width)).permute(1, 3, 0, 2)
        return torch.cat([rows, columns], 1)


def _lstm(channels: int, products: float, bidirectional: bool, dtype: torch.dtype) -> nn.LSTM:
    """Returns an nn.LSTM with about ``products`` multiplications per pixel."""
    one_way = products / (1 + bidirectional)
    hidden = max(1, round((math.sqrt(channels**2 + one_way) - channels) / 2))
    return nn.LSTM(channels, hidden, bidirectional=bidirectional, dtype=dtype)


def layer(
    size: Size, dtype: torch.dtype, directions: int, ragged: bool = False, backends: tuple[str, ...] = (NATIVE,)
) -> Problem:
    """Leaves out nn.LSTM for ragged images, because it would read the padding."""
    torch.manual_seed(0)
    hidden = size.hidden
    x = size.map(hidden, dtype).contiguous(memory_format=torch.channels_last)
    sizes = ragged_sizes(size).to(x.device) if ragged else None
    cotangents = size.map(directions * hidden, dtype).contiguous(memory_format=torch.channels_last)

    def make(cell: str = _CELL, directions: int = directions) -> px.LSTM2d:
        return px.LSTM2d(hidden, hidden, cell=cell, directions=directions, backend=NATIVE, dtype=dtype)

    def arguments(module: px.LSTM2d, sizes: Tensor | None = sizes) -> tuple[px.LSTM2d, Tensor, Tensor, Tensor | None]:
        dy = cotangents[:, : len(module.directions) * hidden].contiguous(memory_format=torch.channels_last)
        return module, x, dy, sizes

    def substitute(module: nn.Module, x: Tensor) -> tuple[nn.Module, Tensor, Tensor]:
        return module, x, torch.randn_like(module(x))

    ours = make()
    products = directions * len(CELLS[_CELL].gates) * hidden * 3 * hidden
    others = {FOUR_GATES: arguments(make("pixelrnn"))}
    if directions > 1:
        others[ONE_DIRECTION] = arguments(make(directions=1))
    if ragged:
        others[PADDED] = arguments(make(), None)
    else:
        pixels = x.permute(2, 3, 0, 1).flatten(0, 1).contiguous()
        others[PIXELS] = substitute(OverPixels(hidden, products, directions > 1, dtype), pixels)
    if directions == 4 and not ragged:
        others[ROWS_AND_COLUMNS] = substitute(AlongRowsAndColumns(hidden, products, dtype), x)
    layers = [from_layer(NATIVE, *arguments(ours))]
    layers += [from_layer(name, *arguments(with_backend(ours, name))) for name in backends if name != NATIVE]
    layers += [replace(from_layer(name, *other), exact=partial(exact_layer, *other)) for name, other in others.items()]

    lines = Lines(size, ours.directions, sizes)

    def loop(x: Tensor, *parameters: Tensor) -> Tensor:
        return lstm2d_good_loop(lines, x, *(torch.stack(parameters[i::3]) for i in range(3)))

    good_loop = replace(layers[0], name=BASELINE, run=loop)
    cells = size.cells if sizes is None else int(sizes.prod(1).sum())
    counted_products = Products(cells, 3 * hidden, len(CELLS[_CELL].gates) * hidden, directions)
    return Problem([good_loop, *layers], partial(exact_layer, *arguments(ours)), counted_products)


class Variant(NamedTuple):
    directions: int
    ragged: bool

    @property
    def kind(self) -> str:
        return f"LSTM2d, {counted(self.directions, 'direction')}{', ragged' if self.ragged else ''}"

    def make_case(self, size: Size, in_default: bool) -> Case:
        substitutes = () if self.ragged else (PIXELS, ROWS_AND_COLUMNS)[: 1 + (self.directions == 4)]
        return Case(self.kind, size, partial(layer, **self._asdict()), in_default, against=(BASELINE, *substitutes))


VARIANTS = {
    variant.make_case(size, in_default): variant
    for size, ragged, in_default in (
        (Size(16, 28, 28, 64), False, True),
        (Size(16, 16, 200, 32), False, False),
        (Size(16, 16, 200, 32), True, True),
        (Size(16, 16, 200, 128), False, False),
        (Size(16, 16, 200, 128), True, False),
        (Size(4, 64, 64, 128), False, False),
    )
    for variant in (Variant(1, ragged), Variant(4, ragged))
}
CASES = list(VARIANTS)
