"""Scripts for completion by a shell, written by shtab."""

import argparse
import sys
from typing import Any

from ..training.drawing import HIDDEN
from ..training.optional import need

SHELLS = ("bash", "zsh", "tcsh")
_PATHS = {"CHECKPOINT", "DIR", "FILE", "FILE.png", "IMAGES", "RUN"}  # the metavars of paths
# --hide takes a word or a path. tcsh has no functions, so that it completes the words alone.
_WORDS = " ".join(HIDDEN)
_HIDE = {"bash": "_pixelrnn_file_to_hide", "zsh": "_pixelrnn_file_to_hide", "tcsh": f"({_WORDS})"}
_FUNCTIONS = {
    "bash": f"""
{_HIDE["bash"]}() {{
  compgen -W "{_WORDS}" -- $1
  compgen -f -- $1
}}""",
    "zsh": f"""
{_HIDE["zsh"]}() {{
  _alternative 'words:what:({_WORDS})' 'files:file:_files'
}}""",
}


class Print(argparse.Action):
    """Prints the script of a shell, and ends the command."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: object, values: Any, flag: object = None) -> None:
        shtab, prog = need("shtab", "pip install shtab"), parser.prog
        kinds = dict.fromkeys(_PATHS, shtab.FILE) | {"WHAT": _HIDE}
        commands = (action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction))
        for command in (parser, *(command for choices in commands for command in choices.values())):
            command.prog = command.prog.replace(prog, "pixelrnn", 1)  # a shell completes this word, not "python"
            for action in command._actions:
                if action.metavar in kinds:
                    action.complete = kinds[action.metavar]  # read by shtab
        sys.stdout.write(shtab.complete(parser, values, preamble=_FUNCTIONS))
        parser.exit()
