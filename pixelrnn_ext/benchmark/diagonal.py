"""The benchmark cases of the Diagonal LSTM: one direction's recurrence, and the whole DiagonalBiLSTM layer."""

from collections.abc import Callable
from functools import partial

import torch

from ..layers import DiagonalBiLSTM
from . import gpu
from .problems import AS_WRITTEN, BASELINE, NATIVE, Case, Problem, Size, layer_problem, recurrence_problem
from .products import Products

recurrence: Callable[..., Problem] = partial(recurrence_problem, diagonal=True, taps=2)


def layer(size: Size, dtype: torch.dtype, backends: tuple[str, ...] = (NATIVE,)) -> Problem:
    torch.manual_seed(0)
    channels, hidden = 2 * size.hidden, size.hidden
    x, dy = size.map(channels, dtype), size.map(hidden, dtype)
    loop = DiagonalBiLSTM(channels, hidden, backend="reference", dtype=dtype)
    products = Products(size.cells, 2 * hidden + channels, 4 * hidden, directions=2)
    return layer_problem(loop, x, dy, products, backends)


CASES = [
    Case(kind, Size(batch, side, side, hidden), build, in_default=in_default, against=against)
    for kind, build, against in (
        ("diagonal", recurrence, (BASELINE, AS_WRITTEN)),
        ("DiagonalBiLSTM layer", layer, (BASELINE,)),
    )
    for batch, side, hidden, in_default in (
        (16, 28, 16, True),
        (16, 28, 64, True),
        (16, 32, 128, False),
        (1, 28, 16, False),
        (1, 28, 64, False),
        (1, 32, 128, True),
    )
]

GPU_CASES = [
    *gpu.cases(
        "diagonal", partial(gpu.recurrence, build=recurrence, diagonal=True), gpu.Scans(True, 2), others=(AS_WRITTEN,)
    ),
    *gpu.cases("DiagonalBiLSTM layer", partial(gpu.layer, build=layer), gpu.Scans(True, 2, directions=2)),
]
