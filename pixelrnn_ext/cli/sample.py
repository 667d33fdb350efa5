import math
from argparse import ArgumentParser, Namespace
from functools import partial

import torch
from torch import Tensor

from ..training import animation, data, drawing, grid
from . import pictures
from .arguments import positive, size
from .inputs import classes_of, divided, label_of, load_model

SUMMARY = "draw images"
EXAMPLES = (
    "mnist5k-diagonal --out digits.png",
    "runs/digits --out digits.png",
    "runs/digits --out digits.gif --count 4 --animate",
    "runs/digits --out threes.png --label 3 --temperature 0.9 --seed 1",
)


def add(parser: ArgumentParser) -> None:
    pictures.add_options(parser, 16)
    parser.add_argument("--size", type=size, metavar="HxW", help="size of the images, by default as in training")
    parser.add_argument("--columns", type=positive, help="images in a row of the picture")
    parser.add_argument("--label", help="class of all images; by default one class after the other")


@divided
def run(options: Namespace, command: str, argv: list[str]) -> int:
    """Draws samples of a model, and writes them as a grid in one picture."""
    pictures.check_out(options.out, animate=options.animate)
    model, facts = load_model(options)
    _, *size = facts["data"]["shape"]
    shape = (model.image_channels, *(options.size or size))
    columns = options.columns or math.ceil(options.count**0.5)
    grid.check_size(options.out, options.count, columns, *shape[1:], animate=options.animate)
    condition = drawing.cycled_classes(options.count, model.condition_channels)
    if options.label is not None:
        classes = classes_of(model, facts)
        condition = data.conditions(torch.full((options.count,), label_of(options.label, classes)), len(classes))

    def compose(drawn: Tensor) -> tuple[Tensor, Tensor]:
        return torch.full_like(drawn, 0.5), drawn

    def order() -> Tensor:
        return animation.drawing_order(model, torch.zeros(1, 1, *shape[1:], dtype=torch.bool))

    draw = partial(drawing.draw, model, options.count, shape, condition=condition)
    return pictures.make("samples", options, draw, compose, order, columns, model.levels)
