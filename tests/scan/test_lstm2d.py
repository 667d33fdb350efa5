"""Tests properties that follow from the definition of LSTM2d, and compares cells with the programs they are from."""

import itertools

import pytest
import torch

import pixelrnn_ext as px
from helpers.checks import randn64
from helpers.oracle import mirror
from helpers.scans import each_backend, each_variant, make_layer, results
from pixelrnn_ext.directions import CORNERS, SUFFIXES


@each_backend
def test_nothing_grows_beside_a_narrow_image(backend):
    """States outside of a narrow image must not become infinite, which would make results NaN."""
    layer = make_layer("graves", 1, 1, directions=1, initial_state="zero", dtype=torch.float32, backend=backend)
    torch.nn.init.constant_(layer.weight_hh, 20)
    for value in results(layer, torch.randn(1, 1, 150, 1)).values():
        assert value.isfinite().all()


@pytest.mark.parametrize("corner", CORNERS)
@each_variant
def test_a_corner_is_the_flipped_image_to_the_bit(variant, corner):
    first, other = (make_layer(variant, directions=(c,), backend="native") for c in ("tl", corner))
    other.load_state_dict({name + SUFFIXES[corner]: value for name, value in first.state_dict().items()})
    x = randn64(2, 2, 4, 6)
    assert torch.equal(other(x), mirror(first(mirror(x, corner)), corner))


def program_step(cell, z, left, up):
    """Computes a pixel as rnn2d ("stable", "halved") or Tesseract ("max") writes it.

    ``left`` and ``up`` are (state, output) of the neighbours, or None outside of the image. Returns the same pair.
    """
    nothing = torch.zeros(2, z.shape[0] // 5, dtype=z.dtype)
    (c_x, _), (c_y, _) = (nothing if pair is None else pair for pair in (left, up))
    i, f, g, o, fifth = z.chunk(5)
    i, f, o, fifth = i.sigmoid(), f.sigmoid(), o.sigmoid(), fifth.sigmoid()
    if cell == "stable":
        c = i * g.tanh() + f * (fifth * c_y + (1 - fifth) * c_x)
    elif cell == "halved":
        c = i * g.tanh() + 0.5 * fifth * c_y + 0.5 * f * c_x
    else:
        forgotten = f * c_x
        if up is not None:
            forgotten = torch.where(f < fifth, fifth * c_y, forgotten)
        c = (forgotten + g.tanh() * i).clamp(-100, 100)
    return c, o * c.tanh()


@each_backend
@pytest.mark.parametrize("cell", ["stable", "halved", "max"])
def test_a_cell_computes_what_its_program_does(cell, backend):
    channels, hidden, height, width = 3, 4, 4, 6
    layer = px.LSTM2d(channels, hidden, cell=cell, directions=1, dtype=torch.float64, backend=backend)
    weights = {name: 0.7 * randn64(p.shape) for name, p in layer.named_parameters()}
    layer.load_state_dict(weights)
    W, (U, V) = weights["weight_ih"].flatten(1), weights["weight_hh"].unbind(-1)
    x, pixels = randn64(channels, height, width), {}
    for r, c in itertools.product(range(height), range(width)):
        left, up = pixels.get((r, c - 1)), pixels.get((r - 1, c))
        z = weights["bias"] + W @ x[:, r, c]
        for matrix, pair in ((U, up), (V, left)):
            z = z if pair is None else z + matrix @ pair[1]
        pixels[r, c] = program_step(cell, z, left, up)
    expected = torch.stack([output for _, output in pixels.values()], 1).view(hidden, height, width)
    torch.testing.assert_close(layer(x[None])[0], expected, rtol=0, atol=1e-12)
