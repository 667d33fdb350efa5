import numpy as np
import pytest
import torch

from helpers.checks import native
from pixelrnn_ext.incremental.eager import EagerRow
from pixelrnn_ext.incremental.grid import Grid
from pixelrnn_ext.incremental.native import NativeRow
from pixelrnn_ext.incremental.range_coder import PRECISION, cumulative
from pixelrnn_ext.incremental.rows import Rows
from pixelrnn_ext.incremental.steps import CellStep, Encode

from . import functions

pytestmark = native
COLUMNS, HIDDEN = 64, 16
UNIT = 2.0**-functions.BITS
TOTAL = 2**PRECISION


def on_grid(images, columns=COLUMNS):
    return Rows(images, columns, 0, torch.float64, torch.device("cpu"), Grid())


def run_cell(gates, carried):
    """Runs an LSTM cell on scalars or 1-D tensors, and returns the new c and h."""
    count = max(value.numel() for value in (*gates, carried))
    rows = on_grid(-(-count // (COLUMNS * HIDDEN)))

    def fill(buffer, value):
        value = value.expand(count)
        buffer.copy_(torch.nn.functional.pad(value, (0, buffer.numel() - count)).view(buffer.shape))

    base, before, c, h, output = (rows.buffer(channels) for channels in (4 * HIDDEN, *[HIDDEN] * 4))
    for gate, value in zip(base.chunk(4, 2), gates):
        fill(gate, value)
    fill(before, carried)
    NativeRow(rows, [CellStep([], base, before, 0, c, h, rows.buffer(HIDDEN), output, 0, HIDDEN)]).run()
    return c.flatten()[:count], h.flatten()[:count]


OPEN, SHUT, ZERO = (torch.tensor(x, dtype=torch.float64) for x in (100.0, -100.0, 0.0))
# Arguments with which an LSTM cell computes sigmoid(x) or tanh(x): (name of this function, gates (i, f, g, o), previous
# c, whether the result is h instead of c).
PLACES = {
    "i": lambda x: ("sigmoid", (x, SHUT, OPEN, ZERO), ZERO, False),
    "f": lambda x: ("sigmoid", (ZERO, x, ZERO, ZERO), ZERO + 1, False),
    "g": lambda x: ("tanh", (OPEN, SHUT, x, ZERO), ZERO, False),
    "o": lambda x: ("sigmoid", (ZERO, OPEN, ZERO, x), ZERO + 256, True),
    "c": lambda x: ("tanh", (ZERO, OPEN, ZERO, OPEN), x, True),
}


@pytest.mark.parametrize("place", PLACES)
def test_the_cell_s_functions_are_correctly_rounded(instruction_set, place):
    name = PLACES[place](ZERO)[0]
    k = np.arange(-functions.COUNT[name] - 1000, functions.COUNT[name] + 1001)
    _, gates, carried, is_h = PLACES[place](torch.from_numpy(k * UNIT))
    c, h = run_cell(gates, carried)
    np.testing.assert_array_equal((h if is_h else c).numpy() / UNIT, functions.signed(name, k))


def test_probabilities_are_those_of_the_correctly_rounded_exponential(instruction_set):
    k = np.arange(functions.COUNT["exp"] + 1000)
    weights, x = functions.exp(k), torch.from_numpy(k * UNIT)
    for first in (0, 1):
        rows = on_grid(len(x), 1)
        logits = rows.buffer(2)
        logits[0, :, 1 - first] = -x
        values, intervals = rows.buffer(1, torch.int64), rows.buffer(1, torch.int64)
        NativeRow(rows, [Encode(logits, values, intervals, torch.zeros(2).double(), rows.buffer(1), 0)]).run()
        end = (weights if first else TOTAL) * (TOTAL - 2) // (TOTAL + weights) + 1
        # An interval of the range coder is stored as start << 32 | end, and here start is 0.
        np.testing.assert_array_equal(intervals.flatten().numpy(), end)


@pytest.mark.parametrize("levels", [2, 3, 17, 256, 4096])
@pytest.mark.parametrize("runner", [NativeRow, EagerRow])
def test_intervals_are_those_of_the_range_coder_s_definition(runner, levels):
    colours = 2
    rows = on_grid(3, 5)
    logits = rows.buffer(colours * (1 if levels == 2 else levels))
    logits.copy_(
        torch.randint(-256 * 2**14, 256 * 2**14 + 1, logits.shape) * UNIT / torch.tensor([1, 16, 256])[:, None]
    )
    logits.copy_(Grid().rounded(logits))
    values, intervals = rows.buffer(colours, torch.int64), rows.buffer(colours, torch.int64)
    values.copy_(torch.randint(levels, values.shape))
    scaled, image = torch.linspace(-1, 1, levels, dtype=torch.float64), rows.buffer(colours)
    runner(rows, [Encode(logits, values, intervals, scaled, image, k) for k in range(colours)]).run()
    ends = cumulative(logits.unflatten(2, (colours, -1)))
    start, stop = (ends.gather(3, values[..., None] + i)[..., 0] for i in (0, 1))
    assert torch.equal(intervals, start << 32 | stop)
    assert torch.equal(image, scaled[values])
