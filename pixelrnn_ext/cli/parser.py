"""The parser of all commands."""

import argparse
import inspect
from types import ModuleType

from ..operators.library import VERSION
from . import bench, complete, completion, compress, decompress, evaluate, info, sample, train

# A module has SUMMARY, a line; EXAMPLES, arguments with what they do; add(parser), its options; and
# run(options, command, argv) -> status, where command is the whole line and argv what follows the command's name.
COMMANDS: dict[str, ModuleType] = {
    "info": info,
    "train": train,
    "evaluate": evaluate,
    "sample": sample,
    "complete": complete,
    "compress": compress,
    "decompress": decompress,
    "bench": bench,
}

FIRST = ("sample", "train", "evaluate")  # of whose examples the first introduces the command


def make(prog: str) -> argparse.ArgumentParser:
    """The parser; ``run`` of what it returns is the command's."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Trains, scores and samples PixelRNN and PixelCNN, and compresses images with them.",
        epilog=_examples(prog, [(name, COMMANDS[name].EXAMPLES[0]) for name in FIRST]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"pixelrnn_ext {VERSION}")
    parser.add_argument(
        "--print-completion",
        choices=completion.SHELLS,
        action=completion.Print,
        default=argparse.SUPPRESS,
        help="print a script that completes this command in a shell; needs shtab",
    )
    parser.set_defaults(run=info.run)
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND")
    for name, module in COMMANDS.items():
        added = subparsers.add_parser(
            name,
            help=module.SUMMARY,
            description=inspect.getdoc(module.run),
            epilog=_examples(prog, [(name, arguments) for arguments in module.EXAMPLES]),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add(added)
        added.set_defaults(run=module.run)
    return parser


def _examples(prog: str, lines: list[tuple[str, str]]) -> str:
    """Of commands with their arguments, as they end a ``--help``."""
    return "examples:\n" + "\n".join(f"  {prog} {name} {arguments}".rstrip() for name, arguments in lines)
