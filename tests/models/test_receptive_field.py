"""Causality and coverage of the models: a value's logits depend on exactly the earlier values that the layers reach."""

import math

import pytest
import torch

import pixelrnn_ext as px
from helpers import reach
from helpers.checks import make_model
from pixelrnn_ext.models import AutoregressiveModel

COLOURS = [
    pytest.param(dict(image_channels=1, levels=2), id="gray"),
    pytest.param(dict(image_channels=3, levels=3), id="rgb"),
]
WIRINGS = [
    pytest.param(dict(residual=residual, skip=skip), id=f"residual{residual:d}-skip{skip:d}")
    for residual in (True, False)
    for skip in (True, False)
]
DEPTH = dict(num_layers=2, kernel_size=3)


@pytest.fixture(autouse=True)
def _images_may_be_real_numbers(monkeypatch):
    monkeypatch.setattr(AutoregressiveModel, "_check_images", lambda self, images, check: None)


def make_active(name, **options):
    """A model whose ReLUs let every gradient through, since the weights and biases of its convolutions are positive."""
    model = make_model(name, **options)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, (px.MaskedConv2d, torch.nn.ConvTranspose2d)):
                module.weight.abs_()
                module.bias.fill_(1)
    return model


def as_map(logits):
    """A colour's logits adjacent, as channels."""
    return logits.transpose(1, 2).flatten(1, 2)


def measured(model, height, width):
    x = torch.rand(1, model.image_channels, height, width, dtype=torch.float64) * (model.levels - 1)
    return reach.measured(lambda x: as_map(model(x)), x, model.image_channels)


@pytest.mark.covering(2)
@pytest.mark.parametrize("wiring", WIRINGS)
@pytest.mark.parametrize("colours", COLOURS)
@pytest.mark.parametrize("size", [(4, 4), (5, 3), (1, 4)], ids="{0[0]}x{0[1]}".format)
@pytest.mark.parametrize("name", ["row", "diagonal", "pixelcnn"])
def test_model(name, size, colours, wiring):
    model = make_active(name, **colours, **wiring)
    image = reach.image(*size, model.image_channels)
    assert measured(model, *size) == reach.stack(image, name, **DEPTH, **wiring)


@pytest.mark.parametrize("kernel_size", [1, 5])
@pytest.mark.parametrize("name", ["row", "pixelcnn"])
def test_kernel_size_and_depth(name, kernel_size):
    options = dict(kernel_size=kernel_size, num_layers=1 if kernel_size == 5 else 3, residual=True, skip=False)
    assert measured(make_active(name, **options), 5, 6) == reach.stack(reach.image(5, 6, 1), name, **options)


@pytest.mark.covering(2)
@pytest.mark.parametrize("wiring", WIRINGS)
@pytest.mark.parametrize("colours", COLOURS)
@pytest.mark.parametrize(("size", "primes"), [((4, 4), [2]), ((4, 6), [2]), ((3, 6), [3]), ((4, 8), [2, 2])], ids=str)
@pytest.mark.parametrize("layers", [("diagonal", "row"), ("row", "diagonal")], ids="{0[0]}-then-{0[1]}".format)
def test_multiscale(layers, size, primes, colours, wiring):
    factor = math.prod(primes)
    model = make_active("multiscale-" + layers[1], factor=factor, **colours, **wiring)
    image = reach.image(*size, model.image_channels)
    got = measured(model, *size)
    assert got == reach.multiscale(image, primes, *layers, **DEPTH, **wiring)
    # Section 3.6 said once without the search: the small image first, then the other pixels, each in raster order.
    order = sorted(image, key=lambda p: (p[0] % factor > 0 or p[1] % factor > 0, p))
    assert all(inputs <= set(order[: order.index(p)]) for p, inputs in got.items())


@pytest.mark.parametrize("num_layers", [1, 3])
@pytest.mark.parametrize("colours", COLOURS)
def test_the_diagonal_model_sees_everything_before_and_nothing_after(colours, num_layers):
    """But for the last value of the row above where the 7x7 does not reach: mask A hides it from its own position."""
    model = make_active("diagonal", num_layers=num_layers, **colours)
    height, width, last_colour = 3, 6, model.image_channels - 1
    order = sorted(reach.image(height, width, model.image_channels))
    field = measured(model, height, width)
    for i, (r, c, a) in enumerate(order):
        hidden = {(r - 1, width - 1, last_colour)} if width - 1 > c + 3 else set()
        assert field[r, c, a] == set(order[:i]) - hidden


@pytest.mark.covering(2)
@pytest.mark.parametrize("wiring", WIRINGS)
@pytest.mark.parametrize("colours", COLOURS)
@pytest.mark.parametrize("name", ["row", "diagonal", "pixelcnn"])
def test_condition_is_not_masked(name, colours, wiring):
    height, width = 4, 3
    model = make_active(name, condition_channels=2, **colours, **wiring)
    nothing = {p: set() for p in reach.image(height, width, model.image_channels)}
    expected = reach.stack(nothing, name, condition=reach.image(height, width, 1), **DEPTH, **wiring)
    images = torch.randint(model.levels, (1, model.image_channels, height, width))

    condition = torch.randn(1, 2, height, width, dtype=torch.float64)
    got = reach.measured(
        lambda c: as_map(model(images.expand(len(c), -1, -1, -1), c)), condition, model.image_channels, 1
    )
    assert got == expected
