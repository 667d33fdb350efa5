"""Tests that layers and models accept the types of integers that torch.nn.Conv2d accepts, and no others."""

import json

import numpy
import pytest
import torch

import pixelrnn_ext as px

SIZES = dict(image_channels=1, levels=4, hidden_channels=4, num_layers=1, head_channels=4)
MAP = torch.linspace(-1, 1, 240).view(2, 4, 5, 6)


def model_of(integer, cls, *layer, **more):
    return cls(*layer, **{name: integer(value) for name, value in SIZES.items()}, **more)


def images_of(model):
    return torch.arange(2 * 4 * 4).view(2, 1, 4, 4) % model.levels


def output_of(integer, cls, *layer, **more):
    model = model_of(integer, cls, *layer, **more)
    return model(images_of(model))


# {name: function that computes a tensor}. ``i`` converts the function's integers to the tested type.
COMPUTED = {
    "RowLSTM": lambda i: px.RowLSTM(i(4), i(6), i(3), image_channels=i(2))(MAP),
    "DiagonalLSTM": lambda i: px.DiagonalLSTM(i(4), i(6), image_channels=i(2))(MAP),
    "DiagonalBiLSTM": lambda i: px.DiagonalBiLSTM(i(4), i(6), image_channels=i(2))(MAP),
    "LSTM2d": lambda i: px.LSTM2d(i(4), i(6), directions=i(2))(MAP),
    "MaskedConv2d": lambda i: px.MaskedConv2d(i(4), i(6), i(3), "A", image_channels=i(2))(MAP),
    "MaskedConv2d-sides": lambda i: px.MaskedConv2d(4, 6, (i(3), i(5)), "A")(MAP),
    "masked_conv2d": lambda i: px.functional.masked_conv2d(
        MAP, torch.ones(8, 4, 3, 3), image_channels=i(2), gates=i(4)
    ),
    "row_lstm": lambda i: px.functional.row_lstm(
        MAP, torch.ones(8, 4, 1, 3), torch.ones(8, 2, 3), mask_type="B", image_channels=i(2)
    ),
    "causal_mask": lambda i: px.masks.causal_mask("A", i(4), i(2), i(3), image_channels=i(2), gates=i(2)),
    "colour_groups": lambda i: px.masks.colour_groups(i(5), i(2)),
    "PixelRNN": lambda i: output_of(i, px.PixelRNN, "row", kernel_size=i(3)),
    "PixelCNN": lambda i: output_of(i, px.PixelCNN),
    "MultiScalePixelRNN": lambda i: output_of(
        i, px.MultiScalePixelRNN, "row", factor=i(2), upsampling_channels=i(3), small={"hidden_channels": i(3)}
    ),
    "sample": lambda i: model_of(int, px.PixelCNN).sample(i(2), (i(1), i(4), i(4))),
}
each_computed = pytest.mark.parametrize("computed", COMPUTED.values(), ids=COMPUTED)


@each_computed
@pytest.mark.parametrize("integer", [numpy.int64, numpy.uint8, numpy.array, torch.tensor], ids=lambda f: f.__name__)
def test_other_integers_are_integers(computed, integer):
    torch.manual_seed(1)
    expected = computed(int)
    torch.manual_seed(1)
    assert torch.equal(computed(integer), expected)


@each_computed
@pytest.mark.parametrize("wrong", [float, str, lambda n: n + 0.5, lambda n: numpy.array([n]), numpy.bool_, bool])
def test_what_is_no_integer_is_refused(computed, wrong):
    with pytest.raises(TypeError, match="expected .* to be an int, got (float|str|ndarray|bool)"):
        computed(wrong)


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128, torch.int32, torch.bool, torch.float8_e4m3fn])
@pytest.mark.parametrize("layer", [px.RowLSTM, px.DiagonalLSTM, px.DiagonalBiLSTM, px.LSTM2d, px.MaskedConv2d])
def test_layers_refuse_dtypes_that_do_not_compute(layer, dtype):
    with pytest.raises(TypeError, match=f"expected dtype of a floating-point dtype .*, got {dtype}"):
        layer(4, 6, dtype=dtype, **dict(kernel_size=3, mask_type="A") if layer is px.MaskedConv2d else {})


@pytest.mark.filterwarnings("ignore:Complex modules")
def test_complex_models_are_refused():
    model = model_of(int, px.PixelCNN).to(torch.complex64)
    images = images_of(model)
    for use in (lambda: model(images), lambda: model.log_prob(images), lambda: model.sample(1, (1, 4, 4))):
        with pytest.raises(TypeError, match="floating-point dtype .*, got torch.complex64"):
            use()


def test_a_configuration_is_of_its_own_and_json():
    small = {"hidden_channels": numpy.int64(3), "layer": "diagonal"}
    model = model_of(numpy.int64, px.MultiScalePixelRNN, "row", factor=numpy.int64(2), small=small)
    config = px.models.to_config(model)
    written = json.dumps(config)
    config["small"]["hidden_channels"] = small["hidden_channels"] = 99
    assert json.dumps(px.models.to_config(model)) == written
    assert json.loads(written)["small"] == {"hidden_channels": 3, "layer": "diagonal"}
