import math
from contextlib import nullcontext

import pytest
import torch

import pixelrnn_ext as px
from helpers.models import SIZES
from pixelrnn_ext.codec import Codec
from pixelrnn_ext.incremental.grid import PROFILES

from .examples import images_of, model_of

CHANGES = {
    "a weight": lambda m: m.head[-1].weight.data[0, 0].add_(2**-15),
    "a bias": lambda m: m.head[-1].bias.data[0].add_(2**-28),
    "a state": lambda m: m.blocks[0].layer.h0_reverse.data[0].add_(2**-13),
}


def fingerprint_of(*arguments, **options):
    return Codec(model_of(*arguments, **options)).fingerprint


@pytest.mark.parametrize("change", CHANGES)
def test_the_fingerprint_is_of_every_integer(change):
    model = model_of()
    CHANGES[change](model.double())
    assert Codec(model).fingerprint != fingerprint_of()


def test_the_fingerprint_is_of_the_wiring_alone():
    assert fingerprint_of(residual=False) != fingerprint_of()
    assert fingerprint_of(backend="reference", residual=True, skip=False) == fingerprint_of()
    assert Codec(model_of().double()).fingerprint == fingerprint_of()
    small_models = None, dict(layer="row", kernel_size=3), dict(residual=False)
    plain, same, other = (fingerprint_of("multiscale-row", small=small) for small in small_models)
    assert plain == same != other


class WithBuffers(px.PixelCNN):
    def __init__(self):
        super().__init__(**SIZES, condition_channels=10)
        self.register_buffer("position", torch.ones(10, 1, 1))
        self.register_buffer("statistic", torch.ones(1))

    def logit_map(self, x, condition):
        return self.head(self.first(x) + (condition + self.position))


def test_the_fingerprint_is_of_buffers_that_the_network_reads():
    model = WithBuffers()
    before = Codec(model).fingerprint
    model.statistic += 1
    assert Codec(model).fingerprint == before
    model.position += 1
    assert Codec(model).fingerprint != before


class Small(px.PixelCNN):
    """A model with a constructor of its own, and a module as its attribute ``args``."""

    def __init__(self, size, *, plain=False, **options):
        super().__init__(**SIZES | dict(hidden_channels=size), residual=not plain, **options)
        self.args = torch.nn.Identity()


class SmallMultiScale(px.MultiScalePixelRNN):
    def __init__(self, levels, *, plain=False, **options):
        super().__init__("row", **SIZES | dict(levels=levels), small=dict(residual=not plain), **options)


@pytest.mark.parametrize("cls", [Small, SmallMultiScale])
def test_a_subclass_with_a_constructor_of_its_own(cls):
    """The fingerprint, by which a file identifies its model, depends on the arguments of the model's base class.

    It does not depend on the parameters alone.
    """
    torch.manual_seed(0)
    model, other, same = cls(6), cls(6, plain=True), cls(6, backend="reference")
    for copy in (other, same):
        copy.load_state_dict(model.state_dict())
    images = images_of(model, 2, 4, 6)
    file = model.compress(images)
    assert torch.equal(model.decompress(file), images) and torch.equal(same.decompress(file), images)
    assert Codec(other).fingerprint != Codec(model).fingerprint
    with pytest.raises(ValueError, match="expected a file that was written with this model"):
        other.decompress(file)


class WithArguments(px.PixelCNN):
    """A model whose argument ``embedding`` is a module, and whose argument ``half`` is also a method."""

    def __init__(self, embedding, half=None, scales=None):
        super().__init__(**SIZES)
        self.embedding, self.scales = embedding, scales


def test_arguments_of_a_subclass_that_are_no_numbers():
    model = WithArguments(torch.nn.Linear(2, 2))
    images = images_of(model)
    assert torch.equal(model.decompress(model.compress(images)), images)
    with pytest.raises(TypeError, match="expected arguments of WithArguments that are numbers or strings to code with"):
        WithArguments(torch.nn.Identity(), scales=torch.ones(2)).compress(images)


def with_nan():
    model = model_of()
    model.head[-1].bias.data.fill_(math.nan)
    return model


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (torch.nn.Linear(2, 2), TypeError, "expected a PixelRNN, PixelCNN or MultiScalePixelRNN, got Linear"),
        (model_of("pixelcnn", levels=4097), ValueError, "expected a model of at most 4096 levels, got 4097"),
        (with_nan(), ValueError, "finite parameters to code with, got infinity or NaN"),
    ],
)
def test_models_that_cannot_code(model, error, message):
    with pytest.raises(error, match=message):
        Codec(model)


# The codec refuses a model with an output whose |bias| + 256 * sum(|weights|) + 256 reaches this limit.
LIMIT = 2**23

LAYER = [f"blocks.1.layer.{kind}{suffix}" for kind in ("weight_ih", "weight_hh", "bias") for suffix in ("", "_reverse")]


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("layer", "name"),
    [("diagonal", name) for name in (*LAYER, "first.weight", "blocks.0.output.bias", "head.3.weight")]
    + [("multiscale-row", "upsampling.0.weight")],
)
def test_sums_that_might_not_be_exact_are_refused(layer, name, sign):
    model = model_of(layer)
    Codec(model)
    parameter = dict(model.named_parameters())[name].data
    if layer == "multiscale-row":
        parameter[0, -1] = LIMIT / 256 / 16 * sign  # the sum of all 16 weights reaches the limit
    else:
        parameter.view(-1)[-1] = sign * (LIMIT if "bias" in name else LIMIT / 256)
    with pytest.raises(ValueError, match=rf"whose sums stay below 8.38861e\+06, got .* in {name.rpartition('.')[0]}"):
        Codec(model)


@pytest.mark.parametrize("below", [300, 200], ids=["accepted", "refused"])
def test_sums_leave_room_for_a_condition(below):
    model = model_of(condition_channels=1)
    with torch.no_grad():
        model.head[-1].weight.zero_()
        model.head[-1].bias.fill_(LIMIT - below)
    with nullcontext() if below > 256 else pytest.raises(ValueError, match="whose sums stay below"):
        Codec(model)


def test_the_bound_is_that_of_rounded_weights():
    model = model_of()
    layer = model.blocks[0].layer
    with torch.no_grad():
        layer.weight_ih.fill_(1.5001 * 2**-16)
        rounded = float(2 * 2**-16 * layer.weight_ih[0].numel() + layer.weight_hh.abs().sum((1, 2)).max())
        layer.bias.fill_(LIMIT - 256 - rounded * 256 + 1e-3)
    with pytest.raises(ValueError, match="whose sums stay below"):
        Codec(model)


def test_an_upsampling_is_of_numbers_on_the_grid():
    """The upsampling of a multi-scale model first rounds its input to multiples of 2^-14."""
    codec = Codec(model_of("multiscale-row", levels=256))
    upsampling, grid = codec._model.upsampling, PROFILES[0]
    x = torch.linspace(-1, 1, 256, dtype=torch.float64).view(1, 1, 16, 16)
    with torch.no_grad():
        upsampling[0].weight.mul_(1024)
        y = upsampling(x)
        assert torch.equal(y, upsampling(grid.rounded(x))) and torch.equal(y, grid.quantized(y))
        assert not torch.equal(grid.rounded(x), x) and y.abs().max() <= 256
