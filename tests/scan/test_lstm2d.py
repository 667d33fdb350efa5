"""Tests properties that follow from the definition of LSTM2d."""

import pytest
import torch

import pixelrnn_ext as px
from helpers.checks import randn64
from helpers.oracle import mirror
from helpers.scans import LSTM2D, each_backend, each_variant, make_layer, results
from pixelrnn_ext import cells, reference
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


@each_backend
@pytest.mark.parametrize("variant", ["stable", "leaky", "graves", "halved", "graves-peepholes", "halved-peepholes"])
def test_a_transposed_image_exchanges_the_neighbours(variant, backend):
    """Exchanged weights of the two neighbours give the transposed output for the transposed image.

    A gate that weighs one neighbour against the other is negated.
    """
    layer, other = (make_layer(variant, directions=1, backend=backend) for _ in range(2))
    state = layer.state_dict()
    state["weight_hh"] = state["weight_hh"].flip(-1)
    for name in ("weight_ih", "weight_hh", "bias"):
        i, left, g, o, up = state[name].chunk(5)
        state[name] = torch.cat([i, left, g, o, -up] if variant in ("stable", "leaky") else [i, up, g, o, left])
    if "peephole" in state:
        state["peephole"] = state["peephole"][[0, 2, 1, 3]]
    other.load_state_dict(state)
    x = randn64(2, 2, 4, 6)
    torch.testing.assert_close(other(x.mT), layer(x).mT, rtol=1e-12, atol=1e-12)


@pytest.mark.sweep
@each_variant
def test_the_state_stays_small_at_first(variant, monkeypatch):
    """With open forget gates, the state of the cell "graves" would reach 1e26 on this map."""
    largest = []

    def watched(*arguments):
        h, c, gates = cells.update(*arguments)
        largest.append(c.detach().abs().max().item())
        return h, c, gates

    monkeypatch.setattr(reference, "update", watched)
    cell, peepholes = LSTM2D[variant]
    px.LSTM2d(8, 16, cell=cell, peepholes=peepholes, backend="reference")(torch.randn(1, 8, 128, 128))
    assert len(largest) == 4 * 255 and max(largest) < 100
