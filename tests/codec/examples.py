"""Small models, images of them, and what those should take."""

import math

import torch

import pixelrnn_ext as px
from pixelrnn_ext.codec import Codec

SMALL = dict(hidden_channels=6, num_layers=2, head_channels=10)


def model_of(layer="diagonal", colours=1, levels=2, scale=1.0, seed=0, **options):
    torch.manual_seed(seed)
    options = SMALL | dict(image_channels=colours, levels=levels) | options
    model = px.PixelCNN(**options) if layer == "cnn" else px.PixelRNN(layer, **options)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(scale)
    return model


def images_of(model, n=3, height=5, width=4, seed=0):
    size = n, model.image_channels, height, width
    return torch.randint(model.levels, size, generator=torch.Generator().manual_seed(seed))


def ideal_bytes(model, images, condition=None):
    condition = condition if condition is None else condition.double()
    with torch.no_grad():
        return -float(model.double().log_prob(images, condition).sum()) / math.log(2) / 8


def multiscale(**options):
    torch.manual_seed(0)
    return px.MultiScalePixelRNN("row", **dict(image_channels=1, levels=5, upsampling_channels=4) | SMALL | options)


def round_trip(model, images, condition=None, **options):
    """Returns the file of images, which has to hold them."""
    codec = Codec(model)
    file = codec.compress(images, condition, **options)
    assert torch.equal(codec.decompress(file, condition), images)
    return file
