"""``pixelrnn decompress``."""

import argparse

from ..training.commands.decompress import decompress
from .arguments import add_coding, add_out, path, whole

SUMMARY = "make pictures of such a file"
EXAMPLES = (
    "mnist5k-diagonal digits.prnn --out digits",
    "runs/pictures photographs.prnn --out photographs --max-bytes 20000000000",
    "runs/digits-by-class both.prnn --out both --label digits:validation --label digits:test",
)


def run(options: argparse.Namespace, command: str, argv: list[str]) -> int:
    """Makes the images of a file of compress numbered PNG files, in a new folder, with the same CHECKPOINT."""
    return decompress(options)


def add(parser: argparse.ArgumentParser) -> None:
    add_coding(parser)
    parser.add_argument("file", type=path, metavar="FILE", help="what compress wrote")
    add_out(parser, "folder", "-o", metavar="DIR", help="the folder, which is not there or empty")
    parser.add_argument(
        "--max-bytes",
        type=whole(1),
        default=2**32,
        metavar="COUNT",
        help="of memory that decoding may take (%(default)s); a file that claims to need more is refused",
    )
