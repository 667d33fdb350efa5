import io
import math
from argparse import ArgumentParser, Namespace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from ..training import animation, data, drawing, exact_images, grid
from ..training.files import write_atomically
from ..training.optional import need
from . import pictures
from .arguments import output_images, positive, size
from .inputs import classes_of, divided, label_of, load_model
from .outputs import check_file, check_folder

SUMMARY = "draw images"
EXAMPLES = (
    "mnist5k-diagonal --out digits.png",
    "runs/digits --out digits.png",
    "runs/digits --out digits.gif --count 4 --animate",
    "runs/digits --out threes.png --label 3 --temperature 0.9 --seed 1",
    "runs/digits --out single/ --count 1000",
    "runs/digits --out samples.npz --count 1000",
)
ARRAYS = ".npz"


def add(parser: ArgumentParser) -> None:
    others = "; DIR/: a new folder of single pictures, one pixel for each of the model's; .npz: arrays"
    pictures.add_options(parser, 16, others, output_images)
    parser.add_argument("--size", type=size, metavar="HxW", help="size of the images, by default as in training")
    parser.add_argument("--columns", type=positive, help="images in a row of the picture")
    parser.add_argument("--label", help="class of all images; by default one class after the other")


@divided
def run(options: Namespace, command: str, argv: list[str]) -> int:
    """Draws samples of a model, and writes them as a grid in one picture, as single pictures or as arrays."""
    is_folder, options.out = options.out.endswith("/"), Path(options.out)
    is_grid = not (is_folder or options.out.suffix == ARRAYS)
    if is_folder:
        check_folder(options.out)
    elif options.out.suffix == ARRAYS:
        check_file(options.out)
    else:
        pictures.check_out(options.out, animate=options.animate)
    if not is_grid and (options.animate or options.columns):
        flag = "--animate" if options.animate else "--columns"
        raise ValueError(f"expected {flag} with one picture, got --out {options.out}")
    model, facts = load_model(options)
    if is_folder:
        exact_images.check_model(model.image_channels, model.levels)
    _, *size = facts["data"]["shape"]
    shape = (model.image_channels, *(options.size or size))
    columns = options.columns or math.ceil(options.count**0.5)
    if is_grid:
        grid.check_size(options.out, options.count, columns, *shape[1:], animate=options.animate)
    condition = drawing.cycled_classes(options.count, model.condition_channels)
    if options.label is not None:
        classes = classes_of(model, facts)
        condition = data.conditions(torch.full((options.count,), label_of(options.label, classes)), len(classes))

    def compose(drawn: Tensor) -> tuple[Tensor, Tensor]:
        return torch.full_like(drawn, 0.5), drawn

    def order() -> Tensor:
        return animation.drawing_order(model, torch.zeros(1, 1, *shape[1:], dtype=torch.bool))

    def write(drawn: Tensor) -> None:
        if is_folder:
            exact_images.write_numbered(options.out, drawn, len(drawn), model.levels)
        else:
            labels = None if condition is None else condition[: len(drawn)].flatten(1).argmax(1)
            write_atomically(options.out, _arrays(drawn, labels, model.levels))

    draw = partial(drawing.draw, model, options.count, shape, condition=condition)
    save = None if is_grid else write
    return pictures.make("samples", options, draw, compose, order, columns, model.levels, save)


def _arrays(images: Tensor, labels: Tensor | None, levels: int) -> bytes:
    """Returns an .npz file with ``images``, integers (N, C, H, W), and ``labels``, the numbers of their classes."""
    numpy = need("numpy")
    arrays = {"images": images.numpy().astype(numpy.uint8 if levels <= 256 else numpy.int64)}
    if labels is not None:
        arrays["labels"] = labels.numpy()
    written = io.BytesIO()
    numpy.savez_compressed(written, **arrays)
    return written.getvalue()
