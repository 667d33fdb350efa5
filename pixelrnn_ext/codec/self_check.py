"""Checks that the arithmetic of this process is as exact as the codec's files require.

Compiled operators set the rounding mode of their threads, so :func:`check` runs once in a process. PyTorch's own
operators do not, so :func:`check_threads` runs before and after each encoding or decoding.
"""

import functools
import math
from collections.abc import Iterable

import torch
from torch import Tensor

from ..incremental.grid import Grid
from ..incremental.range_coder import PRECISION
from ..incremental.rows import Rows
from ..incremental.run import make_runner
from ..incremental.steps import CellStep, Encode

# For each function, the 32 inputs whose results are nearest to a rounding tie, and the rounded results, in units of
# 2^-14, or 2^-24 for exp(-x). tests/codec/functions.py finds the inputs.
NEAR_TIES: dict[str, dict[int, int]] = {
    "sigmoid": {
        **{4 * k + 2: 8192 + k for k in range(18)}, 8065: 10169, 14908: 11681, 25251: 13495, 36849: 14821,
        40486: 15107, 45073: 15400, 57762: 15916, 66538: 16106, 91713: 16323, 123920: 16376, 134344: 16379,
        152347: 16383, 170347: 16383, 170348: 16384,
    },
    "tanh": {
        2512: 2493, 3157: 3118, 4564: 4450, 6250: 5964, 6376: 6072, 8402: 7736, 9074: 8248, 12737: 10669,
        12777: 10693, 14067: 11396, 25773: 15033, 26334: 15119, 30164: 15579, 30614: 15622, 31766: 15720,
        32325: 15762, 32406: 15769, 40063: 16140, 45048: 16250, 46829: 16276, 51283: 16321, 52559: 16331,
        53364: 16335, 64480: 16371, 66729: 16375, 68666: 16377, 77667: 16381, 81852: 16383, 90851: 16383,
        90852: 16383, 90853: 16384, 90854: 16384,
    },
    "exp": {
        4: 16773120, 12345: 7897472, 15135: 6660901, 21147: 4614998, 38618: 1588780, 50420: 773081,
        69252: 244929, 72983: 195049, 76734: 155137, 84408: 97118, 87007: 82871, 105163: 27362, 119398: 11477,
        125011: 8148, 125743: 7792, 136125: 4135, 152279: 1543, 160613: 927, 166885: 633, 173809: 414,
        185067: 209, 204806: 62, 231175: 13, 241889: 6, 244626: 5, 257544: 3, 265913: 2, 265914: 1, 283912: 1,
        283913: 1, 283914: 0, 283915: 0,
    },
}  # fmt: skip

# With this many elements for each thread, PyTorch uses all threads.
_GRAIN_SIZE = 2**15
# Two numbers and their sum, as pairs (m, e) for m * 2**e. The rows detect rounding up, rounding down or towards zero,
# flushing of subnormal results, and flushing of subnormal operands.
_SUMS = (
    ((1, 0), (1, -60), (1, 0)),
    ((1, 0), (3, -54), (2**52 + 1, -52)),
    ((3, -1023), (-1, -1022), (1, -1023)),
    ((1, -1030), (1, -1030), (1, -1029)),
)


def check_threads() -> None:
    size = torch.get_num_threads(), len(_SUMS), _GRAIN_SIZE // len(_SUMS)
    left, right, sums = (t[:, None].expand(size) for t in _table())
    # Compares bits, because a thread that flushes operands takes subnormal numbers for zeros.
    if not torch.equal((left + right).view(torch.int64), sums):
        expected = "expected every thread to round to the nearest number and to keep subnormal numbers"
        raise RuntimeError(f"files cannot be coded here: {expected}, got another rounding mode or flush-to-zero")


@functools.cache
def _table() -> tuple[Tensor, Tensor, Tensor]:
    numbers = [[math.ldexp(*number) for number in numbers] for numbers in _SUMS]
    left, right, sums = torch.tensor(numbers, dtype=torch.float64).unbind(1)
    return left, right, sums.contiguous().view(torch.int64)


@functools.cache
def check(backend: str, grid: Grid) -> None:
    inputs = {name: _from_units(values, grid) for name, values in NEAR_TIES.items()}
    # Each call computes c = sigmoid(f) + tanh(g) in an LSTM cell, because the previous c is 1, and the input gate with
    # the pre-activation 100 is 1, too. The first call sets g = 0, so c is sigmoid(f). The second call sets f = -100, so
    # c is tanh(g).
    sigmoid = _cell_state(backend, grid, 100.0, inputs["sigmoid"], 0.0)
    tanh = _cell_state(backend, grid, 100.0, -100.0, inputs["tanh"])
    total = 2**PRECISION
    ends = [total * (total - 2) // (total + weight) + 1 for weight in NEAR_TIES["exp"].values()]
    for name, is_right in (
        ("rounding to even", _rounds_to_even(grid)),
        ("a matrix product of integers", _products_are_exact()),
        ("sigmoid", torch.equal(sigmoid, _from_units(NEAR_TIES["sigmoid"].values(), grid))),
        ("tanh", torch.equal(tanh, _from_units(NEAR_TIES["tanh"].values(), grid))),
        ("exp", _first_ends(backend, grid, inputs["exp"]) == ends),
    ):
        if not is_right:
            raise RuntimeError(f"files cannot be coded here: {name} is not computed as it is elsewhere")


def _from_units(units: Iterable[int], grid: Grid) -> Tensor:
    return torch.tensor([math.ldexp(unit, -grid.activation) for unit in units], dtype=torch.float64)


def _rounds_to_even(grid: Grid) -> bool:
    halves = torch.tensor([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 0.5 + 2**-20, 2.0**21 + 0.5], dtype=torch.float64)
    units = torch.tensor([-2.0, -2.0, 0.0, 0.0, 2.0, 2.0, 1.0, 2.0**21], dtype=torch.float64)
    unit = math.ldexp(1, -grid.activation)
    return torch.equal(grid.rounded(halves * unit), units * unit)


def _products_are_exact() -> bool:
    """Returns whether a matrix product of large integers is exact in float64.

    The elements of the product need 51 of a float64's 53 bits, so arithmetic of lower precision gives wrong elements.
    """
    i = torch.arange(512 * 8)
    left, right = (i * 7919 % 2**22).view(8, 512), (i * 104729 % 2**21).view(512, 8)
    product = torch.addmm(torch.zeros(8, 8, dtype=torch.float64), left.double(), right.double())
    return torch.equal(product.long(), (left[:, :, None] * right).sum(1))


def _cell_state(backend: str, grid: Grid, i: float, f: Tensor | float, g: Tensor | float) -> Tensor:
    units = len(NEAR_TIES["sigmoid"])
    rows = Rows(1, 1, 1, torch.float64, torch.device("cpu"), grid)
    base, carried, c, h, output = (rows.buffer(channels) for channels in (4 * units, *[units] * 4))
    for gate, value in enumerate((i, f, g)):
        base[:, :, gate * units : (gate + 1) * units] = value
    carried.fill_(1.0)
    step = CellStep([], base, carried, 0, c, h, rows.buffer(units), output, 0, units)
    make_runner(backend, rows, [step]).run()
    return c[-1, 0]


def _first_ends(backend: str, grid: Grid, inputs: Tensor) -> list[int]:
    """Returns where the first of two symbols' intervals ends. Their weights are 1 and exp(-x), for x in ``inputs``."""
    rows = Rows(len(inputs), 1, 0, torch.float64, torch.device("cpu"), grid)
    logits, image = rows.buffer(2), rows.buffer(1)
    logits[0, :, 1] = -inputs
    values, intervals = rows.buffer(1, torch.int64), rows.buffer(1, torch.int64)
    step = Encode(logits, values, intervals, torch.zeros(2, dtype=torch.float64), image, 0)
    make_runner(backend, rows, [step]).run()
    return (intervals[0, :, 0] & 0xFFFFFFFF).tolist()
