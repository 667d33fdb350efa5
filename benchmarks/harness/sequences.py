"""What people use instead of a two-dimensional LSTM: torch.nn.LSTM over a map's pixels, or along its rows and columns.

Each computes another function than LSTM2d, and is checked against reference.lstm2d of maps of one row, where the cell
"pixelrnn" is that of nn.LSTM.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from pixelrnn_ext import reference
from pixelrnn_ext.benchmark.problems import Differentiable, Size
from pixelrnn_ext.directions import Direction2d

PIXELS = "nn.LSTM over pixels (another function)"
ROWS_AND_COLUMNS = "nn.LSTM along rows and columns (another function)"

_Scan = Callable[[Tensor], Tensor]  # of sequences (length, N, C) to (length, N, both ways or one)


def over_pixels(size: Size, dtype: torch.dtype, products: int, both_ways: bool) -> Differentiable:
    """One sequence for each image, row by row, with ``products`` multiplications a pixel and ``size.hidden`` channels.
    It reads sequences, without a copy."""
    modules = _lstms(size, dtype, products, 1, both_ways)
    x = size.map(size.hidden, dtype).permute(2, 3, 0, 1).flatten(0, 1).contiguous()
    return _provider(PIXELS, modules, x, lambda x, scan: scan(x))


def along_rows_and_columns(size: Size, dtype: torch.dtype, products: int) -> Differentiable:
    """Both ways along every row and every column of a map in channels_last, as four sequences that share nothing."""
    modules = _lstms(size, dtype, products, 2, both_ways=True)

    def run(x: Tensor, along_row: _Scan, along_column: _Scan) -> Tensor:
        n, _, height, width = x.shape
        by_row, by_column = x.permute(3, 0, 2, 1), x.permute(2, 0, 3, 1)  # (W, N, H, C), (H, N, W, C)
        rows = along_row(by_row.flatten(1, 2)).unflatten(1, (n, height)).permute(1, 3, 2, 0)
        columns = along_column(by_column.flatten(1, 2)).unflatten(1, (n, width)).permute(1, 3, 0, 2)
        return torch.cat([rows, columns], 1)

    x = size.map(size.hidden, dtype).contiguous(memory_format=torch.channels_last)
    return _provider(ROWS_AND_COLUMNS, modules, x, run)


def _lstms(size: Size, dtype: torch.dtype, products: int, count: int, both_ways: bool) -> list[nn.LSTM]:
    """So wide that each pixel costs all of them together ``products`` multiplications: 4 H (C + H) for each way."""
    channels = size.hidden
    each = products / (count * (1 + both_ways))
    hidden = max(1, round((math.sqrt(channels**2 + each) - channels) / 2))
    return [nn.LSTM(channels, hidden, bidirectional=both_ways, dtype=dtype) for _ in range(count)]


def _provider(name: str, modules: list[nn.LSTM], x: Tensor, run: Callable[..., Tensor]) -> Differentiable:
    parameters = [parameter for module in modules for parameter in module.parameters()]
    names = ["input", *(f"{key} of {i}" for i, module in enumerate(modules) for key, _ in module.named_parameters())]
    scans = [lambda sequences, module=module: module(sequences)[0] for module in modules]
    with torch.no_grad():
        dy = torch.randn_like(run(x, *scans))

    def as_reference(x: Tensor, *parameters: Tensor) -> Tensor:
        count = len(parameters) // len(modules)
        return run(x, *(_reference(parameters[i * count : (i + 1) * count]) for i in range(len(modules))))

    def exact() -> dict[str, Tensor]:
        inputs = [t.detach().double() for t in (x, *parameters)]
        return Differentiable("reference", as_reference, inputs, dy.double(), names).results()

    return Differentiable(name, lambda x, *_: run(x, *scans), [x, *parameters], dy, names, exact=exact)


def _reference(parameters: tuple[Tensor, ...]) -> _Scan:
    """What nn.LSTM with these parameters computes."""

    def direction(weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor, bias_hh: Tensor) -> Direction2d:
        taps = torch.stack([torch.zeros_like(weight_hh), weight_hh], 2)
        return Direction2d(weight_ih[:, :, None, None], taps, bias_ih + bias_hh)

    directions = [direction(*parameters[i : i + 4]) for i in range(0, len(parameters), 4)]

    def scan(sequences: Tensor) -> Tensor:
        maps = sequences.permute(1, 2, 0)[:, :, None]
        y = reference.lstm2d(maps, directions, cell="pixelrnn", corners=("tl", "tr")[: len(directions)])
        return y[:, :, 0].permute(2, 0, 1)

    return scan
