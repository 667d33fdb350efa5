"""Tests that outputs depend on exactly the pixels and colours that they can reach through masks and neighbours."""

import pytest
import torch

from helpers import reach
from helpers.checks import randn64
from helpers.scans import each_layer, each_variant, gate_bias_channels, make_layer
from pixelrnn_ext.directions import CORNERS

each_colours = pytest.mark.parametrize(
    ("colours", "in_channels", "hidden"), [(1, 2, 2), (3, 5, 4)], ids=["gray", "rgb-uneven"]
)
each_extent = pytest.mark.parametrize("ragged", [False, True], ids=["full", "ragged"])


def check(layer, name, height, width, ragged, in_channels=2, colours=1):
    shape = in_channels, height + ragged, width + 2 * ragged
    sizes = torch.tensor([(height, width)]) if ragged else None
    expected = {p: set() for p in reach.identity(*shape[1:], colours)}
    expected |= reach.layer(reach.identity(height, width, colours), name)

    def run(copies):
        return layer(copies, sizes=sizes if sizes is None else sizes.expand(len(copies), 2))

    assert reach.measured(run, shape, colours) == expected


@pytest.mark.covering(2)
@each_extent
@each_colours
@pytest.mark.parametrize(("height", "width"), [(4, 4), (5, 3), (3, 5), (1, 4), (4, 1)])
@each_layer
def test_layer(name, height, width, colours, in_channels, hidden, ragged, backend):
    layer = make_layer(name, in_channels, hidden, image_channels=colours, backend=backend)
    check(layer, name, height, width, ragged, in_channels, colours)


@pytest.mark.covering(2)
@each_extent
@pytest.mark.parametrize("corner", CORNERS)
@each_variant
def test_a_pixel_of_lstm2d_sees_the_quadrant_of_its_corner(variant, corner, ragged, backend):
    check(make_layer(variant, directions=(corner,), backend=backend), corner, 3, 4, ragged)


@pytest.mark.parametrize("backend", ["native", "reference"])
@each_colours
@each_layer
def test_gate_bias_is_not_masked(name, colours, in_channels, hidden, backend):
    """A gate bias reaches all colours at its pixel, and all cells that read the states of this pixel."""
    height, width = 4, 3
    layer = make_layer(name, in_channels, hidden, image_channels=colours, backend=backend)
    x = randn64(1, in_channels, height, width)
    shape = gate_bias_channels(layer), height, width
    nothing = {p: set() for p in reach.identity(height, width, colours)}
    expected = reach.layer(nothing, name, gate_bias=reach.identity(height, width, 1))
    field = reach.measured(lambda g: layer(x.expand(len(g), -1, -1, -1), g), shape, colours)
    assert {p: {(r, c, 0) for r, c, _ in seen} for p, seen in field.items()} == expected


def test_the_bilstm_sees_everything_before_and_nothing_after():
    for (r, c, a), inputs in reach.layer(reach.identity(4, 5, 3), "bilstm").items():
        position = (r * 5 + c) * 3 + a
        assert {(rr * 5 + cc) * 3 + b for rr, cc, b in inputs} == set(range(position + 1))


def test_the_row_lstm_sees_the_triangle_above_and_to_its_left():
    for (r, c, _), inputs in reach.layer(reach.identity(5, 7, 1), "row3").items():
        triangle = {
            (rr, cc, 0) for rr in range(r) for cc in range(7) if abs(cc - c) <= r - rr or cc == c - (r - rr) - 1
        }
        assert inputs == triangle | {(r, cc, 0) for cc in (c - 1, c) if cc >= 0}
