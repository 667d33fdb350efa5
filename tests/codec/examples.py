import math

import torch

from helpers.models import make_model, random_images
from pixelrnn_ext.codec import Codec


def model_of(layer="diagonal", colours=1, levels=2, **options):
    return make_model(layer, dtype=torch.float32, image_channels=colours, levels=levels, **options)


def images_of(model, n=3, height=5, width=4):
    return random_images(model, n, height, width)


def ideal_bytes(model, images, condition=None):
    condition = condition if condition is None else condition.double()
    with torch.no_grad():
        return -float(model.double().log_prob(images, condition).sum()) / math.log(2) / 8


def round_trip(model, images, condition=None, **options):
    codec = Codec(model)
    file = codec.compress(images, condition, **options)
    assert torch.equal(codec.decompress(file, condition), images)
    return file
