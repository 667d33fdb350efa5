"""Shared by ``pixelrnn sample`` and ``complete``: options, drawing, and the file of the picture."""

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

import torch
from torch import Tensor

from .. import models
from .._command import INTERRUPTED
from ..training import animation, drawing, grid
from ..training.interrupt import Interrupt
from ..training.progress import bar, follow
from .arguments import whole
from .inputs import add_checkpoint, add_device
from .outputs import add_out, check_file, say


def add_options(parser: ArgumentParser, count: int) -> None:
    add_checkpoint(parser)
    add_out(parser, "file", metavar="FILE.png", help="the picture; .jpg, .webp (lossless), .gif (how it is drawn) too")
    parser.add_argument(
        "--animate", action="store_true", help="how it is drawn, a GIF, as where --out ends in .gif: into a pipe, too"
    )
    parser.add_argument("--count", type=whole(1), default=count, help="images (default %(default)s)")
    parser.add_argument("--temperature", type=float, default=1.0, help="the logits are divided by it")
    parser.add_argument("--seed", type=whole(0), default=0)
    parser.add_argument(
        "--batch-size", type=whole(1), default=16, help="images drawn at once; Ctrl-C keeps whole batches"
    )
    add_device(parser)


def check_out(path: Path, *, animate: bool) -> None:
    """Checks --out before minutes of sampling, not after."""
    check_file(path)
    grid.check_format(path, animate=animate)


def draw(
    model: models.AutoregressiveModel,
    options: Namespace,
    shape: tuple[int, int, int],
    count: int,
    **inputs: Tensor | None,
) -> tuple[Tensor, bool]:
    device = next(model.parameters()).device
    with bar("rows") as shown:
        return drawing.draw(
            model,
            count,
            shape,
            seed=options.seed,
            batch_size=options.batch_size,
            temperature=options.temperature,
            progress=follow(shown),
            **{name: tensor if tensor is None else tensor.to(device) for name, tensor in inputs.items()},
        )


def write(
    options: Namespace,
    model: models.AutoregressiveModel,
    before: Tensor,
    images: Tensor,
    columns: int,
    known: Tensor | None = None,
) -> bool:
    """Writes a grid of images, animated from ``before``. Returns False after Ctrl-C, which leaves frames out."""
    with Interrupt() as stop:
        if options.animate or animation.is_animation(options.out):
            height, width = images.shape[2:]
            known = torch.zeros(1, 1, height, width, dtype=torch.bool) if known is None else known
            order = animation.drawing_order(model, known)
            animation.write_animation(options.out, before, images, order, columns, stop)
        else:
            grid.write_grid(options.out, images, columns)
        return not stop()


def end(options: Namespace, drawn: int, finished: bool, what: str) -> int:
    if finished:
        say(f"{drawn} {what}: {options.out}", options.out)
        return 0
    kept = f"{drawn} finished {what} are in {options.out}" if drawn else f"no {what} were finished"
    print(f"interrupted; {kept}", file=sys.stderr)
    return INTERRUPTED
