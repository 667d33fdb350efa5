"""``pixelrnn complete``."""

import argparse

from ..training import data
from ..training.commands.complete import complete
from .arguments import add_data, add_drawing, whole

SUMMARY = "draw hidden parts of images"
EXAMPLES = (
    "runs/digits --out completed.png",
    "runs/digits --out completed.gif --count 4 --completions 2",
    "runs/pictures --out completed.png --hide mask.png --data folder:others",
)


def run(options: argparse.Namespace, command: str, argv: list[str]) -> int:
    """Draws what is hidden of images: originals, what is shown of them, and completions, a row each."""
    return complete(options)


def add(parser: argparse.ArgumentParser) -> None:
    add_drawing(parser, 8)
    parser.add_argument(
        "--hide",
        default="lower-half",
        metavar="WHAT",
        help="lower-half (default), box, or an image file of the images' size: white is hidden",
    )
    parser.add_argument("--completions", type=whole(1), default=3, help="rows of the picture (%(default)s)")
    add_data(parser, "whose images, by default what it was trained on")
    parser.add_argument("--split", choices=data.SPLITS, default="test", help="%(default)s by default")
