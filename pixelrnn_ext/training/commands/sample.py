"""What ``pixelrnn sample`` does."""

import math
from argparse import Namespace

import torch

from .. import data, grid
from ..drawing import cycled_classes
from . import pictures
from .inputs import load_model


def sample(options: Namespace) -> int:
    """A grid of samples."""
    pictures.check_out(options.out, animate=options.animate)
    model, facts = load_model(options)
    _, *size = facts["data"]["shape"]
    shape = (model.image_channels, *(options.size or size))
    condition = cycled_classes(options.count, model.condition_channels)
    if options.label is not None:
        classes = facts["data"]["classes"] if model.condition_channels else []
        if options.label not in classes:
            expected = f"a class of {', '.join(classes)}" if classes else "no label for a model without classes"
            raise ValueError(f"expected {expected}, got {options.label!r}")
        condition = data.conditions(torch.full((options.count,), classes.index(options.label)), len(classes))
    columns = options.columns or math.ceil(options.count**0.5)
    grid.check_size(options.out, options.count, columns, *shape[1:], animate=options.animate)
    drawn, finished = pictures.draw(model, options, shape, options.count, condition=condition)
    if len(drawn):
        images = drawn / (model.levels - 1)
        finished &= pictures.write(options, model, torch.full_like(images, 0.5), images, columns)
    return pictures.end(options, len(drawn), finished, "samples")
