"""Small models that are drawn at random, and what the tests draw with."""

import torch
from torch import nn

import pixelrnn_ext as px

SIZES = dict(hidden_channels=5, num_layers=2, head_channels=7)
MODELS = {
    "row": lambda **o: px.PixelRNN("row", **SIZES | o),
    "row5-skip-no-residual": lambda **o: px.PixelRNN("row", kernel_size=5, skip=True, residual=False, **SIZES | o),
    "diagonal": lambda **o: px.PixelRNN("diagonal", **SIZES | o),
    "diagonal-skip-zero-states": lambda **o: px.PixelRNN("diagonal", skip=True, initial_state="zero", **SIZES | o),
    "pixelcnn": lambda **o: px.PixelCNN(**SIZES | o),
    "pixelcnn5-skip-no-residual": lambda **o: px.PixelCNN(kernel_size=5, skip=True, residual=False, **SIZES | o),
    "multiscale": lambda **o: px.MultiScalePixelRNN("diagonal", small={"layer": "row"}, **SIZES | o),
}
COLOURS = {"gray": dict(image_channels=1, levels=2), "rgb": dict(image_channels=3, levels=7)}


def make(name, colours="gray", dtype=torch.float64, **options):
    """A model whose learned states and biases are not small, so that a wrong border shows."""
    torch.manual_seed(1)
    model = MODELS[name](**COLOURS[colours], **options)
    for parameter_name, parameter in model.named_parameters():
        if parameter_name.split(".")[-1].startswith(("h0", "c0", "bias")):
            nn.init.uniform_(parameter, -1, 1)
    return model.to(dtype)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)
