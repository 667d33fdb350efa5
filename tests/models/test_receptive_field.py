"""Tests that a value's logits depend only on earlier values, and in the diagonal model on nearly all of them."""

import itertools

import pytest
import torch

import pixelrnn_ext as px
from helpers.models import MODELS, each_colours, make_model
from pixelrnn_ext.causality import check
from pixelrnn_ext.models import AutoregressiveModel

CASES = [
    *((name, (4, 6), {}) for name in MODELS),
    ("multiscale-row", (3, 6), dict(factor=3)),
    ("multiscale-diagonal", (4, 8), dict(factor=4)),
]


def make_active(name, colours, **options):
    """Makes a model whose ReLUs pass all gradients, since its weights and biases are positive."""
    model = make_model(name, colours, **options)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, (px.MaskedConv2d, torch.nn.ConvTranspose2d)):
                module.weight.abs_()
                module.bias.fill_(1)
    return model


@pytest.mark.covering(2)
@pytest.mark.parametrize("num_layers", [1, 2, 3])
@pytest.mark.parametrize("skip", [True, False])
@pytest.mark.parametrize("residual", [True, False])
@each_colours
@pytest.mark.parametrize(("name", "size", "factor"), CASES, ids=str)
def test_nothing_later_is_seen_and_everything_earlier_by_the_diagonal_model(
    name, size, factor, colours, residual, skip, num_layers, monkeypatch
):
    """In the diagonal model, the last value of a row reaches the next row only through the first layer's 7x7 kernel."""
    # _check_images() would refuse images of real numbers, which the test needs for gradients.
    monkeypatch.setattr(AutoregressiveModel, "_check_images", lambda self, images, check: None)
    model = make_active(name, colours, num_layers=num_layers, residual=residual, skip=skip, **factor)
    shape = model.image_channels, *size

    def logits(x):
        return model(x).transpose(1, 2).flatten(1, 2)

    options = dict(layout="features", image_channels=model.image_channels, levels=model.levels, raises=False)
    report = check(logits, shape, **options)
    field = {
        (row, column, colour): {(r, c, k) for k, r, c in report.seen_by((colour, row, column)).nonzero().tolist()}
        for colour, row, column in itertools.product(*map(range, shape))
    }
    # A multi-scale model first generates the pixels in every factor-th row and column (section 3.6 of the paper).
    factor, last_column = getattr(model, "factor", 1), size[1] - 1
    order = sorted(field, key=lambda p: (p[0] % factor > 0 or p[1] % factor > 0, p))
    for i, (row, column, colour) in enumerate(order):
        seen, earlier = field[row, column, colour], set(order[:i])
        assert seen <= earlier
        if name == "diagonal":
            hidden = {(row - 1, last_column, model.image_channels - 1)} if last_column > column + 3 else set()
            assert seen == earlier - hidden
