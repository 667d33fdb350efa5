import argparse
import inspect
from types import ModuleType

from ..operators.library import VERSION
from . import bench, check, complete, completion, compress, decompress, evaluate, info, sample, train

# Each module has run(options, command, argv), which returns the exit status. ``command`` is the whole command line, and
# ``argv`` is the part after the command's name.
COMMANDS: dict[str, ModuleType] = {
    "info": info,
    "train": train,
    "evaluate": evaluate,
    "sample": sample,
    "complete": complete,
    "compress": compress,
    "decompress": decompress,
    "check": check,
    "bench": bench,
}

# Commands whose first example the general help shows.
FIRST = ("sample", "train", "evaluate")


def make(prog: str) -> argparse.ArgumentParser:
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
    return "examples:\n" + "\n".join(f"  {prog} {name} {arguments}".rstrip() for name, arguments in lines)
