"""``pixelrnn evaluate``."""

import argparse

from ..training import data
from ..training.commands.evaluate import evaluate
from .arguments import add_checkpoint, add_data, add_device, whole

SUMMARY = "score a model"
EXAMPLES = (
    "runs/digits",
    "runs/digits --split validation --json",
    "runs/digits/last.safetensors --data mnist --batch-size 64",
)


def run(options: argparse.Namespace, command: str, argv: list[str]) -> int:
    """Prints the likelihood of a split."""
    return evaluate(options)


def add(parser: argparse.ArgumentParser) -> None:
    add_checkpoint(parser)
    add_data(parser, "what to score, by default what it was trained on")
    parser.add_argument("--split", choices=data.SPLITS, default="test", help="%(default)s by default")
    parser.add_argument("--batch-size", type=whole(1), default=16, help="images at once (%(default)s)")
    add_device(parser)

    parser.add_argument("--json", action="store_true", help="one object for programs, instead of a line")
