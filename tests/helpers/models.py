import itertools
from functools import partial

import pytest
import torch

import pixelrnn_ext as px

SIZES = dict(image_channels=1, levels=2, hidden_channels=5, num_layers=2, head_channels=7)
COLOURS = {"gray": {}, "rgb": dict(image_channels=3, levels=7)}
MODELS = {
    "row": partial(px.PixelRNN, "row"),
    "diagonal": partial(px.PixelRNN, "diagonal"),
    "pixelcnn": px.PixelCNN,
    "multiscale-row": partial(px.MultiScalePixelRNN, "row", upsampling_channels=3, small={"layer": "diagonal"}),
    "multiscale-diagonal": partial(px.MultiScalePixelRNN, "diagonal", upsampling_channels=3, small={"layer": "row"}),
}
each_model = pytest.mark.parametrize("name", MODELS)
each_colours = pytest.mark.parametrize("colours", COLOURS)
WIRED_MODELS = MODELS | {
    "row5-skip-no-residual": partial(px.PixelRNN, "row", kernel_size=5, skip=True, residual=False),
    "diagonal-skip-zero-states": partial(px.PixelRNN, "diagonal", skip=True, initial_state="zero"),
    "pixelcnn5-skip-no-residual": partial(px.PixelCNN, kernel_size=5, skip=True, residual=False),
}
each_wired_model = pytest.mark.parametrize("name", WIRED_MODELS)


def make_model(name, colours="gray", dtype=torch.float64, *, scale=1, **options):
    """Makes a small model with random parameters.

    Initial states and biases are so large that a wrong value at an image's border changes the results.
    """
    torch.manual_seed(1)
    model = WIRED_MODELS[name](**SIZES | COLOURS[colours] | options)
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            if parameter_name.rpartition(".")[2].startswith(("h0", "c0", "bias")):
                parameter.uniform_(-1, 1)
            parameter.mul_(scale)
    return model.to(dtype)


def random_images(model, n=2, height=4, width=6):
    return torch.randint(model.levels, (n, model.image_channels, height, width), generator=generator())


def all_images(levels=2, colours=1, height=2, width=2):
    values = itertools.product(range(levels), repeat=colours * height * width)
    return torch.tensor(list(values)).view(-1, colours, height, width)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)
