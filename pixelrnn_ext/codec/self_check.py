"""Whether arithmetic in this process is what files depend on: a changed rounding mode, a library that computes sums in
fewer bits or a libm with errors in the tenth digit would make files that nothing else can read.

The compiled operators set the floating-point environment of their threads themselves, so :func:`check` asks once a
process. PyTorch's steps compute in the environment that they find, so :func:`check_threads` asks before and after them.
"""

import functools
import math
from decimal import ROUND_HALF_EVEN, Decimal, localcontext

import torch
from torch import Tensor

from ..incremental.grid import Grid
from ..incremental.range_coder import PRECISION
from ..incremental.rows import Rows
from ..incremental.run import runner_of
from ..incremental.steps import CellStep, Encode, Step

# Of all inputs on the grid, in its units of 2^-14, those whose rounded value a wrong digit would change first: nearest
# to a tie of sigmoid(x) and tanh(x) on the grid, and of exp(-x) in 2^-24 (tests/codec/functions.py).
NEAREST: dict[str, tuple[int, ...]] = {
    "sigmoid": (
        *range(2, 71, 4), 8065, 14908, 25251, 36849, 40486, 45073, 57762, 66538, 91713, 123920, 134344, 152347, 170347,
        170348
    ),
    "tanh": (
        2512, 3157, 4564, 6250, 6376, 8402, 9074, 12737, 12777, 14067, 25773, 26334, 30164, 30614, 31766, 32325, 32406,
        40063, 45048, 46829, 51283, 52559, 53364, 64480, 66729, 68666, 77667, 81852, 90851, 90852, 90853, 90854
    ),
    "exp": (
        4, 12345, 15135, 21147, 38618, 50420, 69252, 72983, 76734, 84408, 87007, 105163, 119398, 125011, 125743, 136125,
        152279, 160613, 166885, 173809, 185067, 204806, 231175, 241889, 244626, 257544, 265913, 265914, 283912, 283913,
        283914, 283915
    ),
}  # fmt: skip


_PART = 2**15  # elements that PyTorch gives a thread at least, before it takes another thread
# Two numbers and their sum, m * 2**e each, which is another one where a thread rounds up; down or to zero; flushes
# results to zero; flushes operands to zero.
_SUMS = (
    ((1, 0), (1, -60), (1, 0)),
    ((1, 0), (3, -54), (2**52 + 1, -52)),
    ((3, -1023), (-1, -1022), (1, -1023)),
    ((1, -1030), (1, -1030), (1, -1029)),
)


def check_threads() -> None:
    """Asks the calling thread and PyTorch's other threads for the default floating-point environment, in about 1 ms.

    Raises:
        RuntimeError: a thread does not round to the nearest number, or flushes subnormal numbers to zero.
    """
    size = torch.get_num_threads(), len(_SUMS), _PART // len(_SUMS)
    left, right, sums = (t[:, None].expand(size) for t in _table())
    # The bits are compared: a thread that flushes its operands finds a subnormal number equal to zero.
    if not torch.equal((left + right).view(torch.int64), sums):
        expected = "expected every thread to round to the nearest number and to keep subnormal numbers"
        raise RuntimeError(f"files cannot be coded here: {expected}, got another rounding mode or flush-to-zero")


@functools.cache
def _table() -> tuple[Tensor, Tensor, Tensor]:
    """The columns of _SUMS, the last one as the bits of its numbers."""
    numbers = [[math.ldexp(*number) for number in numbers] for numbers in _SUMS]
    left, right, sums = torch.tensor(numbers, dtype=torch.float64).unbind(1)
    return left, right, sums.contiguous().view(torch.int64)


@functools.cache
def check(backend: str, grid: Grid) -> None:
    """Once a process, milliseconds.

    Raises:
        RuntimeError: arithmetic is not what it has to be; the sentence says which.
    """
    for what, right in (
        ("rounding to even", _rounds_to_even(grid)),
        ("a matrix product of integers", _products_are_exact()),
        ("sigmoid", torch.equal(_sigmoid(backend, grid), _expected("sigmoid", grid.activation))),
        ("tanh", torch.equal(_tanh(backend, grid), _expected("tanh", grid.activation))),
        ("exp", torch.equal(_first_ends(backend, grid), _expected_ends())),
    ):
        if not right:
            raise RuntimeError(f"files cannot be coded here: {what} is not computed as it is elsewhere")


def _rounds_to_even(grid: Grid) -> bool:
    halves = torch.tensor([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 0.5 + 2**-20, 2.0**21 + 0.5], dtype=torch.float64)
    units = torch.tensor([-2.0, -2.0, 0.0, 0.0, 2.0, 2.0, 1.0, 2.0**21], dtype=torch.float64)
    unit = math.ldexp(1, -grid.activation)
    return torch.equal(grid.rounded(halves * unit), units * unit)


def _products_are_exact() -> bool:
    """Whether a sum of products that needs all bits of an integer of float64 has them."""
    i = torch.arange(512 * 8)
    left, right = (i * 7919 % 2**22).view(8, 512), (i * 104729 % 2**21).view(512, 8)
    product = torch.addmm(torch.zeros(8, 8, dtype=torch.float64), left.double(), right.double())
    return torch.equal(product.long(), (left[:, :, None] * right).sum(1))


def _inputs(name: str, grid: Grid) -> Tensor:
    return torch.tensor(NEAREST[name], dtype=torch.float64) * math.ldexp(1, -grid.activation)


def _sigmoid(backend: str, grid: Grid) -> Tensor:
    """By the cell that codes, of its gate f: c = f * 1 + i * 0."""
    return _carried(backend, grid, i=100.0, f=_inputs("sigmoid", grid), g=0.0)


def _tanh(backend: str, grid: Grid) -> Tensor:
    """Returns tanh as the coding cell computes it, of its gate g: c = 0 * 1 + 1 * g."""
    return _carried(backend, grid, i=100.0, f=-100.0, g=_inputs("tanh", grid))


def _carried(backend: str, grid: Grid, i: float, f: Tensor | float, g: Tensor | float) -> Tensor:
    units = len(NEAREST["sigmoid"])
    rows = Rows(1, 1, 1, torch.float64, torch.device("cpu"), grid)
    base, carried, c, h, output = (rows.buffer(channels) for channels in (4 * units, *[units] * 4))
    for gate, value in enumerate((i, f, g)):
        base[:, :, gate * units : (gate + 1) * units] = value
    carried.fill_(1.0)
    step = CellStep([], base, carried, 0, c, h, rows.buffer(units), output, 0, units)
    _run(backend, rows, step)
    return c[-1, 0]


def _first_ends(backend: str, grid: Grid) -> Tensor:
    """Where the first one's interval ends of two symbols that are exp(0) and exp(-x) likely."""
    inputs = _inputs("exp", grid)
    count = len(inputs)
    rows = Rows(count, 1, 0, torch.float64, torch.device("cpu"), grid)
    logits, image = rows.buffer(2), rows.buffer(1)
    logits[0, :, 1] = -inputs
    values, intervals = rows.buffer(1, torch.int64), rows.buffer(1, torch.int64)
    _run(backend, rows, Encode(logits, values, intervals, torch.zeros(2, dtype=torch.float64), image, 0))
    return intervals[0, :, 0] & 0xFFFFFFFF


def _run(backend: str, rows: Rows, step: Step) -> None:
    runner_of(backend, rows.device)(rows, [step]).run()


def _expected(name: str, bits: int) -> Tensor:
    """On the grid, by decimal numbers of 50 digits."""
    units = [_rounded(_value(name, k), bits) for k in NEAREST[name]]
    return torch.tensor([math.ldexp(unit, -bits) for unit in units], dtype=torch.float64)


def _expected_ends() -> Tensor:
    whole = 2**PRECISION
    weights = [_rounded(_value("exp", k), PRECISION) for k in NEAREST["exp"]]
    return torch.tensor([whole * (whole - 2) // (whole + weight) + 1 for weight in weights])


def _value(name: str, k: int) -> Decimal:
    with localcontext() as context:
        context.prec = 50
        x = Decimal(k) / 2**14
        if name == "exp":
            return (-x).exp()
        if name == "sigmoid":
            return 1 / (1 + (-x).exp())
        return 1 - 2 / ((2 * x).exp() + 1)


def _rounded(value: Decimal, bits: int) -> int:
    with localcontext() as context:
        context.prec = 50
        return int((value * 2**bits).to_integral_value(ROUND_HALF_EVEN))
