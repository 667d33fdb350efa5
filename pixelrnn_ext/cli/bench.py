"""``pixelrnn bench``."""

import argparse

from ..benchmark.command import bench
from .arguments import whole

SUMMARY = "time the layers on this machine"
EXAMPLES = (
    "",
    "--markdown",
    '--only "B1 32x32 h128" --threads 1',
)


def run(options: argparse.Namespace, command: str, argv: list[str]) -> int:
    """Times a training step of the diagonal layers beside plain PyTorch, within a minute; each result is checked."""
    return bench(options, command)


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="the cases whose name contains it, and slower ones too"
    )
    parser.add_argument("--threads", type=whole(1), metavar="N", help="2 by default")
    parser.add_argument("--markdown", action="store_true", help="as a table of Markdown, for a bug report")
