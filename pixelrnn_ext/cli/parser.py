"""The parser of all commands."""

import argparse
from types import ModuleType

from ..operators.library import VERSION
from . import bench, complete, completion, evaluate, info, sample, train

# A module has SUMMARY, a line; EXAMPLES, arguments with what they do; add(parser), its options; and
# run(options, command, argv) -> status, where command is the whole line and argv what follows the command's name.
COMMANDS: dict[str, ModuleType] = {
    "info": info,
    "train": train,
    "evaluate": evaluate,
    "sample": sample,
    "complete": complete,
    "bench": bench,
}


def make(prog: str) -> argparse.ArgumentParser:
    """The parser; ``run`` of what it returns is the command's."""
    parser = argparse.ArgumentParser(prog=prog, description="Trains, scores and samples PixelRNN and PixelCNN.")
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
        examples = "\n".join(f"  {prog} {name} {arguments}".rstrip() for arguments in module.EXAMPLES)
        added = subparsers.add_parser(
            name,
            help=module.SUMMARY,
            description=module.run.__doc__,
            epilog=f"examples:\n{examples}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add(added)
        added.set_defaults(run=module.run)
    return parser
