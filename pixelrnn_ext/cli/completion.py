"""Prints scripts that complete the command ``pixelrnn`` in a shell. The package shtab generates the scripts."""

import argparse
import sys
from typing import Any

from ..training.drawing import HIDDEN_AREAS
from ..training.optional import need

SHELLS = ("bash", "zsh", "tcsh")
# Metavars of the arguments that take a path. The shell completes these with file names.
_PATHS = {"CHECKPOINT", "DIR", "FILE", "FILE.png", "IMAGES", "RUN"}
# The option --hide takes one of the words in _WORDS, or a path. The tcsh script completes the words but not the path,
# because completing both needs a shell function, and tcsh has no functions.
_WORDS = " ".join(HIDDEN_AREAS)
_HIDE = "_pixelrnn_file_to_hide"
_FUNCTIONS = {
    "bash": f"""
{_HIDE}() {{
  compgen -W "{_WORDS}" -- $1
  compgen -f -- $1
}}""",
    "zsh": f"""
{_HIDE}() {{
  _alternative 'words:what:({_WORDS})' 'files:file:_files'
}}""",
}


class Print(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, namespace: object, values: Any, flag: object = None) -> None:
        shtab, prog = need("shtab", "pip install shtab"), parser.prog
        kinds = dict.fromkeys(_PATHS, shtab.FILE)
        kinds["WHAT"] = dict(bash=_HIDE, zsh=_HIDE, tcsh=f"({_WORDS})")
        commands = (action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction))
        for command in (parser, *(command for choices in commands for command in choices.values())):
            # Even if "python -m pixelrnn_ext" prints the script, it completes "pixelrnn".
            command.prog = command.prog.replace(prog, "pixelrnn", 1)
            for action in command._actions:
                if action.metavar in kinds:
                    action.complete = kinds[action.metavar]
        sys.stdout.write(shtab.complete(parser, values, preamble=_FUNCTIONS))
        parser.exit()
