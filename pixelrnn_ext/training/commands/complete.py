"""What ``pixelrnn complete`` does."""

from argparse import Namespace
from pathlib import Path

import torch

from .. import data, drawing, grid, images
from . import pictures
from .inputs import data_of, load_model


def complete(options: Namespace) -> int:
    """A grid of images: the originals, what the model is shown of them, and its completions, a row each."""
    pictures.check_out(options.out, animate=options.animate)
    model, facts = load_model(options)
    dataset = data_of(options, model, facts)
    split = dataset.splits[options.split]
    count = min(options.count, len(split))
    index = torch.linspace(0, len(split) - 1, count).long()  # spread over the split, which may be sorted
    originals, (_, height, width) = split.images[index], dataset.shape
    if options.hide in drawing.HIDDEN:
        known = drawing.known_pixels(options.hide, height, width)
    else:
        with images.pixel_limit():
            mask = images.read_image(Path(options.hide), gray=True)
        if tuple(mask.shape[1:]) != (height, width):
            got = "x".join(map(str, mask.shape[1:]))
            raise ValueError(
                f"expected a mask of {height}x{width} pixels, as the images have, got {got} in {options.hide}"
            )
        known = mask[None] < 128
    rows = options.completions
    grid.check_size(options.out, (2 + rows) * count, count, height, width, animate=options.animate)
    condition = None
    if model.condition_channels and split.labels is not None:
        condition = data.conditions(split.labels[index], model.condition_channels).repeat(rows, 1, 1, 1)
    drawn, finished = pictures.draw(
        model,
        options,
        dataset.shape,
        rows * count,
        condition=condition,
        given=originals.repeat(rows, 1, 1, 1),
        known=known,
    )
    originals = originals / (model.levels - 1)
    shown = torch.where(known, originals, 0.5)
    # What Ctrl-C left undone stays hidden.
    undone = shown.repeat(rows, 1, 1, 1)[len(drawn) :]
    if len(drawn):
        before = torch.cat([originals, shown, shown.repeat(rows, 1, 1, 1)])
        after = torch.cat([originals, shown, drawn / (model.levels - 1), undone])
        finished &= pictures.write(options, model, before, after, count, known)
    return pictures.end(options, len(drawn), finished, "completions")
