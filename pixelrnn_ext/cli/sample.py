"""``pixelrnn sample``."""

import argparse

from ..training.commands.sample import sample
from .arguments import add_drawing, size, whole

SUMMARY = "draw images"
EXAMPLES = (
    "mnist5k-diagonal --out digits.png",
    "runs/digits --out digits.png",
    "runs/digits --out digits.gif --count 4 --animate",
    "runs/digits --out threes.png --label 3 --temperature 0.9 --seed 1",
)


def run(options: argparse.Namespace, command: str, argv: list[str]) -> int:
    """Draws a grid of samples."""
    return sample(options)


def add(parser: argparse.ArgumentParser) -> None:
    add_drawing(parser, 16)
    parser.add_argument("--size", type=size, metavar="HxW", help="of an image, by default as in training")
    parser.add_argument("--columns", type=whole(1), help="of the picture")
    parser.add_argument("--label", help="class of all images; by default one class after the other")
