"""What ``pixelrnn sample`` does."""

import math
from argparse import Namespace

import torch

from .. import data, grid
from ..drawing import cycled_classes
from . import pictures
from .inputs import classes_of, label_of, load_model


def sample(options: Namespace) -> int:
    """A grid of samples."""
    pictures.check_out(options.out, animate=options.animate)
    model, facts = load_model(options)
    _, *size = facts["data"]["shape"]
    shape = (model.image_channels, *(options.size or size))
    condition = cycled_classes(options.count, model.condition_channels)
    if options.label is not None:
        classes = classes_of(model, facts)
        labels = torch.full((options.count,), label_of(options.label, classes))
        condition = data.conditions(labels, len(classes))
    columns = options.columns or math.ceil(options.count**0.5)
    grid.check_size(options.out, options.count, columns, *shape[1:], animate=options.animate)
    drawn, finished = pictures.draw(model, options, shape, options.count, condition=condition)
    if len(drawn):
        images = drawn / (model.levels - 1)
        finished &= pictures.write(options, model, torch.full_like(images, 0.5), images, columns)
    return pictures.end(options, len(drawn), finished, "samples")
