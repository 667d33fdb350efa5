import sys
from argparse import ArgumentParser, Namespace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from .. import models
from ..training import animation, data, drawing, grid, images
from . import pictures
from .arguments import positive
from .inputs import add_data, divided, load_data, load_model

SUMMARY = "draw hidden parts of images"
EXAMPLES = (
    "runs/digits --out completed.png",
    "runs/digits --out completed.gif --count 4 --completions 2",
    "runs/pictures --out completed.png --hide mask.png --data folder:others",
)


def add(parser: ArgumentParser) -> None:
    pictures.add_options(parser, 8)
    areas = ", ".join(drawing.HIDDEN_AREAS)
    hidden = f"{areas}, or an image file of the images' size: white is hidden (%(default)s)"
    parser.add_argument("--hide", default="lower-half", metavar="WHAT", help=hidden)
    parser.add_argument("--completions", type=positive, default=3, help="rows of the picture (%(default)s)")
    add_data(parser, "whose images, by default those of the training")
    parser.add_argument("--split", choices=data.SPLITS, default="test", help="%(default)s by default")


@divided
def run(options: Namespace, command: str, argv: list[str]) -> int:
    """Draws hidden parts of images. The picture has rows of original images, visible parts and completed images.

    A model draws a pixel from the pixels above it and to its left. Visible pixels below a hidden pixel, or to its
    right, have no influence on it.
    """
    pictures.check_out(options.out, animate=options.animate)
    if options.hide not in drawing.HIDDEN_AREAS and not Path(options.hide).exists():
        expected = f"{', '.join(drawing.HIDDEN_AREAS)} or an image file"
        raise FileNotFoundError(f"expected --hide to be {expected}, got {options.hide}")
    model, facts = load_model(options)
    dataset = load_data(options, model, facts)
    split = dataset.splits[options.split]
    count = min(options.count, len(split))
    # The images are taken from the whole split at equal distances, because the first images of a sorted split may all
    # be of one class.
    index = torch.linspace(0, len(split) - 1, count).long()
    originals, (_, height, width) = split.images[index], dataset.shape
    if options.hide in drawing.HIDDEN_AREAS:
        known = drawing.known_pixels(options.hide, height, width)
    else:
        with images.pixel_limit():
            mask = images.read_image(Path(options.hide), gray=True)
        if tuple(mask.shape[1:]) != (height, width):
            expected = f"a mask of {height}x{width} pixels, as the images have"
            raise ValueError(f"expected {expected}, got {'x'.join(map(str, mask.shape[1:]))} in {options.hide}")
        known = mask[None] < 128
    if options.world.is_first and not isinstance(model, models.MultiScalePixelRNN) and _has_known_after_hidden(known):
        after = "pixels below or to the right of a hidden pixel have no influence on it"
        print(f"note: {after}, because the model draws from above and from the left", file=sys.stderr)
    rows = options.completions
    grid.check_size(options.out, (2 + rows) * count, count, height, width, animate=options.animate)
    condition = None
    if model.condition_channels and split.labels is not None:
        condition = data.conditions(split.labels[index], model.condition_channels).repeat(rows, 1, 1, 1)
    given = originals.repeat(rows, 1, 1, 1)
    originals = originals / (model.levels - 1)
    shown = torch.where(known, originals, 0.5)
    hidden = shown.repeat(rows, 1, 1, 1)

    def compose(drawn: Tensor) -> tuple[Tensor, Tensor]:
        # After Ctrl-C, the hidden parts of unfinished images stay gray.
        undone = hidden[len(drawn) :]
        return torch.cat([originals, shown, hidden]), torch.cat([originals, shown, drawn, undone])

    draw = partial(drawing.draw, model, rows * count, dataset.shape, condition=condition, given=given, known=known)
    order = partial(animation.drawing_order, model, known)
    return pictures.make("completions", options, draw, compose, order, count, model.levels)


def _has_known_after_hidden(known: Tensor) -> bool:
    """Returns whether a visible pixel comes after a hidden one, row by row and from left to right."""
    is_known = known.flatten()
    return bool((is_known[1:] & ~is_known.cummin(0).values[:-1]).any())
