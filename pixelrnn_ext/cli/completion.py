"""Scripts for completion by a shell, which shtab writes."""

import argparse
import sys
from typing import Any

from ..training.optional import need

SHELLS = ("bash", "zsh", "tcsh")
_PATHS = {"CHECKPOINT", "DIR", "FILE.png", "RUN"}  # what an option takes, where that is a path


class Print(argparse.Action):
    """Prints the script of a shell, and ends."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        shtab, prog = need("shtab", "pip install shtab"), parser.prog
        for each in _all(parser):
            each.prog = each.prog.replace(prog, "pixelrnn", 1)  # the word that a shell completes, not "python"
            for action in each._actions:
                if action.metavar in _PATHS:
                    action.complete = shtab.FILE  # type: ignore[attr-defined]  # where shtab looks for it
        sys.stdout.write(shtab.complete(parser, values))
        parser.exit()


def _all(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """It and those of its commands."""
    commands = (action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return [parser, *(command for choices in commands for command in choices.values())]
