"""Code that ``pixelrnn sample`` and ``pixelrnn complete`` share."""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from .._command import INTERRUPTED
from ..sampling import Sampler, plan_to_stderr
from ..training import animation, grid
from ..training.interrupt import Interrupt
from ..training.progress import rows_bar
from .arguments import non_negative, positive
from .inputs import add_checkpoint, add_device
from .outputs import add_out, check_file, say


def add_options(parser: ArgumentParser, count: int, more: str = "", out: Callable[[str], str] | None = None) -> None:
    add_checkpoint(parser)
    formats = f"the picture: PNG, .jpg, lossless .webp, or .gif, an animation; -: standard output{more}"
    add_out(parser, "file", metavar="FILE.png", help=formats, type=out)
    option = parser.add_argument
    option("--animate", action="store_true", help="write a GIF of the drawing, even into a pipe; the default for .gif")
    option("--count", type=positive, default=count, help="number of images (%(default)s)")
    option("--temperature", type=float, default=1.0, help="divides the logits; 0 takes the likeliest values")
    option("--seed", type=non_negative, default=0)
    option("--batch-size", type=positive, default=16, help="images at once; Ctrl-C keeps whole batches")
    add_device(parser)


def check_out(path: Path, *, animate: bool) -> None:
    check_file(path)
    grid.check_format(path, animate=animate)


def say_plans(sampler: Sampler) -> None:
    for plan in sampler.plans:
        plan_to_stderr(plan)


def make(
    noun: str,
    options: Namespace,
    draw: Callable[..., tuple[Tensor, bool]],
    compose: Callable[[Tensor], tuple[Tensor, Tensor]],
    order: Callable[[], Tensor],
    columns: int,
    levels: int,
    write: Callable[[Tensor], None] | None = None,
) -> int:
    """Draws images with a model, and writes them. Returns the exit status of the command.

    After Ctrl-C, the images that are finished are written.

    Args:
        noun: the images in messages, in the plural, such as "samples".
        draw: drawing.draw with all arguments bound except seed, batch_size, temperature, progress, before and
            divide.
        compose: takes the drawn images, in [0, 1]. Returns two tensors with all images of the grid: the pixels
            before the drawing, and the pixels after it.
        order: returns the indices of the pixels in the order of drawing.
        write: writes the drawn images, integers (N, C, H, W). By default they become one picture.
    """
    world = options.world
    with rows_bar() as progress:
        drawn, finished = draw(
            seed=options.seed,
            batch_size=options.batch_size,
            temperature=options.temperature,
            progress=world.scaled(progress),
            before=say_plans if world.is_first else lambda sampler: None,
            divide=world.map,
        )
    if not world.is_first:
        return 0 if finished else INTERRUPTED
    if len(drawn) and write:
        write(drawn)
    elif len(drawn):
        before, after = compose(drawn / (levels - 1))
        # After Ctrl-C, an animation has fewer frames, but is still written.
        with Interrupt() as stop:
            if options.animate or animation.is_animation(options.out):
                animation.write_animation(options.out, before, after, order(), columns, stop)
            else:
                grid.write_grid(options.out, after, columns)
            finished &= not stop()
    if finished:
        say(f"{len(drawn)} {noun}: {options.out}", options.out)
        return 0
    kept = f"{len(drawn)} finished {noun} are in {options.out}" if len(drawn) else f"no {noun} were finished"
    print(f"interrupted; {kept}", file=sys.stderr)
    return INTERRUPTED
