"""Comparison of tensors, and the cases that the tests share."""

import itertools
from contextlib import contextmanager
from functools import partial

import pytest
import torch
from torch.library import opcheck

import pixelrnn_ext as px
from pixelrnn_ext.operators import library

# Relative to a result in float64. In units of rounding, 2^-53 and 2^-24, these are 90 and 34. A sum of n products errs
# by about sqrt(n) units, and the longest sum, a weight's gradient, has 840: 29 units, or 41 where both sides err.
RATIO = {torch.float64: 1e-14, torch.float32: 2e-6}


def assert_close(name, expected, got, ratio):
    """RMS of the error over the RMS of what is expected."""
    assert got.shape == expected.shape, f"{name}: expected shape {tuple(expected.shape)}, got {tuple(got.shape)}"
    assert not got.isnan().any(), f"{name}: NaN"
    error = (got.double() - expected.double()).square().mean().sqrt()
    scale = expected.double().square().mean().sqrt()
    assert got.numel() == 0 or error <= ratio * scale, f"{name}: error ratio {error / scale:.1e}, at most {ratio:.0e}"


@contextmanager
def using_instruction_set(name):
    before = px.build_config()["instruction_set"]
    library.set_instruction_set(name)
    try:
        yield
    finally:
        library.set_instruction_set(before)


def opcheck_untraced(operator, arguments):
    """torch.library.opcheck without the trace of the operator's derivatives, which takes seconds."""
    cheap = "test_schema", "test_autograd_registration", "test_faketensor"
    opcheck(operator, arguments, test_utils=cheap)


# N, in channels, hidden, H, W, image channels: H > W, H < W, one row, one column, one image and none, hidden not a
# multiple of 8, uneven colour groups, more cells than a tile on a line and more than a run of the weight gradient.
SIZES = [
    pytest.param(*size, id="B{}-in{}-h{}-{}x{}-colours{}".format(*size))
    for size in [
        (2, 3, 5, 4, 6, 1),
        (1, 6, 7, 9, 4, 3),
        (3, 8, 16, 1, 5, 1),
        (2, 4, 8, 7, 1, 2),
        (9, 1, 1, 1, 1, 1),  # a gradient that is one number, a sum over the images, which of these nine does not cancel
        (5, 5, 33, 12, 13, 3),
        (2, 4, 64, 3, 140, 1),
        (0, 3, 5, 4, 6, 1),
    ]
]

# name -> layer of (in channels, hidden, **options)
LAYERS = {
    "row1": lambda *sizes, **options: px.RowLSTM(*sizes, 1, **options),
    "row3": lambda *sizes, **options: px.RowLSTM(*sizes, 3, **options),
    "row5": lambda *sizes, **options: px.RowLSTM(*sizes, 5, **options),
    "diagonal": px.DiagonalLSTM,
    "diagonal-reverse": lambda *sizes, **options: px.DiagonalLSTM(*sizes, reverse=True, **options),
    "bilstm": px.DiagonalBiLSTM,
}


def make_layer(name, in_channels, hidden, **options):
    """A layer whose learned initial states, if it has any, are not zero."""
    layer = LAYERS[name](in_channels, hidden, **options)
    for parameter_name, parameter in layer.named_parameters():
        if parameter_name.startswith(("h0", "c0")):
            torch.nn.init.uniform_(parameter, -1, 1)
    return layer


def gate_bias_channels(layer):
    return sum(p.shape[0] for name, p in layer.named_parameters() if name.startswith("weight_hh"))


def cotangent_of(y):
    """Returns random float32 numbers, the same for every map of a shape. Sums over an even ramp would cancel."""
    return torch.randn(y.shape, generator=torch.Generator().manual_seed(0)).to(y.dtype)


def outputs_and_gradients(layer, backend, input, gate_bias=None, cotangent=None):
    """{name: tensor} of the output and the gradient of everything, for one backend."""
    layer.backend = backend
    y = layer(input, gate_bias)
    cotangent = cotangent_of(y) if cotangent is None else cotangent
    leaves = {"input": input, "gate_bias": gate_bias, **dict(layer.named_parameters())}
    leaves = {name: leaf for name, leaf in leaves.items() if leaf is not None and leaf.requires_grad}
    gradients = torch.autograd.grad(y, list(leaves.values()), cotangent)
    return {"output": y.detach(), **dict(zip(leaves, gradients))}


def subsets(names):
    """All subsets of names but the empty one."""
    return [s for n in range(1, len(names) + 1) for s in itertools.combinations(names, n)]


# name -> model of (**options)
MODELS = {
    "row": partial(px.PixelRNN, "row"),
    "diagonal": partial(px.PixelRNN, "diagonal"),
    "pixelcnn": px.PixelCNN,
    "multiscale-row": partial(px.MultiScalePixelRNN, "row", upsampling_channels=3, small={"layer": "diagonal"}),
    "multiscale-diagonal": partial(px.MultiScalePixelRNN, "diagonal", upsampling_channels=3, small={"layer": "row"}),
}


def make_model(name, dtype=torch.float64, **options):
    """A tiny model whose learned initial states are not zero: two layers of 5 channels, gray and of two levels."""
    sizes = dict(image_channels=1, levels=2, hidden_channels=5, num_layers=2, head_channels=7)
    model = MODELS[name](**sizes | options).to(dtype)
    for parameter_name, parameter in model.named_parameters():
        if parameter_name.rpartition(".")[2].startswith(("h0", "c0")):
            torch.nn.init.uniform_(parameter, -1, 1)
    return model


def random_images(model, n=2, height=4, width=6):
    return torch.randint(model.levels, (n, model.image_channels, height, width))
