"""What ``pixelrnn sample`` and ``complete`` have in common: images are drawn, and written into a file."""

import sys
from argparse import Namespace
from pathlib import Path

import torch
from torch import Tensor

from ... import models
from ..._command import INTERRUPTED
from .. import animation, drawing, grid
from ..interrupt import Interrupt
from ..progress import bar, follow
from .inputs import check_file, say


def check_out(path: Path, *, animate: bool) -> None:
    """Before minutes of sampling, not after."""
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
    """A grid of images, animated as they are drawn from what was there ``before``; False after Ctrl-C, which waits for
    the images but not for all frames."""
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
