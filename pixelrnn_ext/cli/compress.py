"""``pixelrnn compress``."""

import argparse

from ..training import images
from ..training.commands.compress import compress
from .arguments import add_coding, add_out, named, whole

SUMMARY = "make images a file, without loss"
EXAMPLES = (
    "mnist5k-diagonal mnist5k:test --out digits.prnn",
    "runs/pictures photographs/ more/one.png --out photographs.prnn --no-verify",
)


def run(options: argparse.Namespace, command: str, argv: list[str]) -> int:
    """Makes images a file, the smaller the better the model predicts them, of which decompress makes the same pixels.

    The file needs its CHECKPOINT for ever: without it, or after another step of its training, nothing can read it.
    Of a picture the pixels are kept as they are shown, turned as EXIF says; its name, colour profile and other
    metadata are not. What cannot be kept without loss is refused.
    """
    return compress(options)


def add(parser: argparse.ArgumentParser) -> None:
    add_coding(parser, "; a split has its labels without")
    parser.add_argument(
        "images",
        type=named,
        metavar="IMAGES",
        nargs="+",
        help="picture files, folders of them, sorted by name, or a split of a data set, such as mnist5k:test",
    )
    add_out(parser, "file", "-o", metavar="FILE", help="what is written")
    parser.add_argument(
        "--streams",
        type=whole(1),
        metavar="N",
        help="parts that threads decode at once, of images of one size; some 8 KiB each by default",
    )
    parser.add_argument(
        "--verify",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="decode and compare, before anything is written (the default)",
    )
    parser.add_argument(
        "--max-pixels",
        type=whole(1),
        default=images.MAX_PIXELS,
        metavar="COUNT",
        help="larger pictures are refused (%(default)s)",
    )
