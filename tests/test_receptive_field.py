"""Causality and coverage: an output depends on exactly the pixels and colours that the masks and taps reach.

What should be reached is searched cell by cell from the definitions; what is reached is where the gradient is not zero, in
float64, for every output position and colour.
"""

import itertools

import pytest
import torch
from checks import LAYERS, make_layer
from oracle import colour

SHAPES = [pytest.param(4, 4, id="4x4"), pytest.param(5, 3, id="5x3"), pytest.param(3, 5, id="3x5"), pytest.param(1, 4, id="1x4"), pytest.param(4, 1, id="4x1")]
COLOURS = [pytest.param(1, 2, 2, id="gray"), pytest.param(3, 5, 4, id="rgb-uneven")]


def neighbours(name):
    """Displacements (rows, columns) of the state-to-state taps."""
    if name.startswith("row"):
        reach = int(name[3:]) // 2
        return [(-1, k) for k in range(-reach, reach + 1)]
    return [(-1, 0), (0, 1 if name == "diagonal-reverse" else -1)]


def reached_by_scan(name, height, width, colours):
    """{output (row, column, colour): set of inputs} of one scan with mask B."""
    reach = int(name[3:]) // 2 if name.startswith("row") else 0
    columns = range(width)[::-1] if name == "diagonal-reverse" else range(width)
    state = {}  # (row, column) -> for each colour the inputs that it depends on
    for r, c in itertools.product(range(height), columns):
        before = set()
        for dr, dc in neighbours(name):
            for inputs in state.get((r + dr, c + dc), []):
                before |= inputs
        before |= {(r, c - k, b) for k in range(1, reach + 1) if c - k >= 0 for b in range(colours)}
        state[r, c] = [before | {(r, c, b) for b in range(a + 1)} for a in range(colours)]
    return {(r, c, a): inputs for (r, c), all_colours in state.items() for a, inputs in enumerate(all_colours)}


def reached(name, height, width, colours):
    if name != "bilstm":
        return reached_by_scan(name, height, width, colours)
    left = reached_by_scan("diagonal", height, width, colours)
    right = reached_by_scan("diagonal-reverse", height, width, colours)
    return {(r, c, a): left[r, c, a] | right.get((r - 1, c, a), set()) for r, c, a in left}


def composed(outer, inner):
    return {output: set().union(*(inner[i] for i in inputs)) for output, inputs in outer.items()}


def measured(module, height, width, colours, in_channels, out_channels):
    x = torch.randn(1, in_channels, height, width, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda x: module(x)[0], x)[:, :, :, 0].abs()  # out, r, c, in, r, c
    field = {}
    for r, c, a in itertools.product(range(height), range(width), range(colours)):
        out = [i for i in range(out_channels) if colour(i, out_channels, colours) == a]
        depends = jacobian[out, r, c].amax(0)  # in, r, c
        field[r, c, a] = {
            (rr, cc, colour(i, in_channels, colours)) for i, rr, cc in (depends > 0).nonzero().tolist()
        }
    return field


@pytest.mark.parametrize("backend", ["native", "reference"])
@pytest.mark.parametrize(("colours", "in_channels", "hidden"), COLOURS)
@pytest.mark.parametrize(("height", "width"), SHAPES)
@pytest.mark.parametrize("name", LAYERS)
def test_layer(name, height, width, colours, in_channels, hidden, backend):
    layer = make_layer(name, in_channels, hidden, image_channels=colours, dtype=torch.float64, backend=backend)
    assert measured(layer, height, width, colours, in_channels, hidden) == reached(name, height, width, colours)


@pytest.mark.parametrize(("colours", "in_channels", "hidden"), COLOURS)
@pytest.mark.parametrize(("outer", "inner"), [("bilstm", "bilstm"), ("row3", "row3"), ("bilstm", "row3")])
def test_stack(outer, inner, colours, in_channels, hidden):
    height, width = 4, 3
    options = dict(image_channels=colours, dtype=torch.float64)
    stack = torch.nn.Sequential(make_layer(inner, in_channels, hidden, **options), make_layer(outer, hidden, hidden, **options))
    expected = composed(reached(outer, height, width, colours), reached(inner, height, width, colours))
    assert measured(stack, height, width, colours, in_channels, hidden) == expected


def test_the_bilstm_sees_everything_before_and_nothing_after():
    """The statement of section 3.3, said once without the search above."""
    for (r, c, a), inputs in reached("bilstm", 4, 5, 3).items():
        position = (r * 5 + c) * 3 + a
        assert {(rr * 5 + cc) * 3 + b for rr, cc, b in inputs} == set(range(position + 1))


def test_the_row_lstm_sees_the_triangle_above_and_to_its_left():
    for (r, c, _), inputs in reached("row3", 5, 7, 1).items():
        triangle = {(rr, cc, 0) for rr in range(r) for cc in range(7) if abs(cc - c) <= r - rr or cc == c - (r - rr) - 1}
        assert inputs == triangle | {(r, cc, 0) for cc in (c - 1, c) if cc >= 0}
