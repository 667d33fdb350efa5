"""Tests properties that follow from the definition of LSTM2d."""

import pytest
import torch

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
