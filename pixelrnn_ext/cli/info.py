"""``pixelrnn info``: the installation, or a training."""

import argparse

from .. import machine
from ..operators.library import build_config
from ..training import summary

SUMMARY = "what was compiled in (the default), or what a training did"
EXAMPLES = ("", "runs/digits", "runs/digits/last.safetensors")


def run(options: argparse.Namespace, command: str, argv: list[str]) -> int:
    """Says what a training did; without RUN what a bug report needs: versions, the machine, what was compiled in."""
    facts = summary.of_run(path) if (path := getattr(options, "checkpoint", None)) else _of_installation()
    width = max(map(len, facts)) + 1
    for key, value in facts.items():
        print(f"{key + ':':<{width}} {_readable(value)}")
    return 0


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "checkpoint", metavar="RUN", nargs="?", help="the folder of a training, a checkpoint, or a pretrained model"
    )


def _of_installation() -> dict[str, object]:
    version, *others = build_config().items()
    return dict([version, *machine.facts().items(), *others])


def _readable(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "-"
    return str(value)
