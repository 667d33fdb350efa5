"""What several commands take: kinds of values, the data set, the device, the checkpoint, the picture."""

import argparse
from collections.abc import Callable
from pathlib import Path

from .. import models
from ..training import data, images


def size(text: str) -> list[int]:
    """[height, width] of "24x32", or of "32"."""
    sides = text.split("x")
    if not all(side.isdecimal() and int(side) for side in sides) or len(sides) > 2:
        raise argparse.ArgumentTypeError(f"expected a size such as 32 or 24x32 (height x width), got {text!r}")
    return [int(sides[0]), int(sides[-1])]


def named(text: str) -> str:
    """A path that is not empty."""
    if not text:
        raise argparse.ArgumentTypeError("expected a path, got an empty one")
    return text


def path(text: str) -> Path:
    return Path(named(text))


def whole(least: int) -> Callable[[str], int]:
    """Type of an option that takes integers of at least ``least``."""

    def integer(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) < 2**63:
            raise argparse.ArgumentTypeError(f"expected an integer >= {least} of 64 bits, got {text!r}")
        return int(text)

    return integer


def add_out(parser: argparse.ArgumentParser, writes: str, *flags: str, help: str, metavar: str) -> None:
    """Adds ``--out``, which obeys training/commands/protection.py, and ``--force`` where it can replace a file.

    Args:
        writes: the kind of output, a key of ``protection.REPLACED``.
    """
    kind = named if writes == "training" else path  # a checkpoint stores the options of its training as JSON
    parser.add_argument(*flags, "--out", type=kind, required=True, metavar=metavar, help=help)
    parser.set_defaults(writes=writes)
    if writes != "folder":
        parser.add_argument(
            "--force", action="store_true", help="let --out replace an input, a checkpoint or a file of a training"
        )


def add_data(parser: argparse.ArgumentParser, what: str) -> None:
    group = parser.add_argument_group("data set")
    names = ", ".join(data.DATA_SETS)
    group.add_argument("--data", type=data.absolute, metavar="NAME[:PATH]", help=f"{what}: one of {names}")
    group.add_argument(
        "--binarisation", choices=data.BINARISATIONS, help="of mnist and mnist5k: once (default), or for every batch"
    )
    group.add_argument("--image-size", type=size, metavar="HxW", help="folder: size of the images, 32x32 by default")
    group.add_argument(
        "--fit", choices=images.FITS, help="folder: scale and cut at the centre (default), scale, or cut"
    )
    group.add_argument("--gray", action="store_true", default=None, help="folder: one channel instead of three")
    group.add_argument(
        "--strict", action="store_true", default=None, help="folder: an unreadable file is an error, not skipped"
    )
    group.add_argument(
        "--max-pixels",
        type=whole(1),
        metavar="COUNT",
        help=f"folder: larger pictures are unreadable, {images.MAX_PIXELS} by default",
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, ...; a GPU by default where there is one")


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
    names = ", ".join(models.PRETRAINED)
    parser.add_argument(
        "checkpoint",
        metavar="CHECKPOINT",
        help=f"a checkpoint, the folder of a training: its best one, or a pretrained model: {names}",
    )


def add_drawing(parser: argparse.ArgumentParser, count: int) -> None:
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


def add_coding(parser: argparse.ArgumentParser, more: str = "") -> None:
    """Of compress and decompress, which work on the CPU; ``more`` of --label."""
    add_checkpoint(parser)
    parser.set_defaults(device="cpu")
    parser.add_argument(
        "--label",
        dest="labels",
        action="append",
        default=[],
        metavar="CLASS",
        help="that of all images, for a model of classes; or the labels in the order of the images, each the class of "
        f"one or a split, such as digits:test, for those of its images; the file does not keep them{more}",
    )
    parser.add_argument("--batch-size", type=whole(1), default=64, help="images at once (%(default)s)")
