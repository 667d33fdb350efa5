"""The command line: ``pixelrnn train | evaluate | sample | complete | info | bench``; ``python -m pixelrnn_ext`` too.

Exit status: 0, 2 for whatever the user can mend, with one sentence on stderr, and 130 after Ctrl-C.
"""

import argparse
import os
import shlex
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

from . import machine, models
from ._command import FAILED, INTERRUPTED
from .benchmark.command import bench
from .operators import backends
from .operators.library import VERSION, build_config
from .training import builder, commands, data, images, optimiser
from .training.loop import Settings
from .training.optional import MissingPackage

# What a resumed training may have other than before.
MAY_CHANGE = {*commands.NOT_STORED, "out", "steps", "epochs", "samples", "save_every", "device", "backend"}
MAY_CHANGE |= {"data", *data.FOLDER_OPTIONS}  # a folder may move; stored_data.py looks at what is in it
# Options that older checkpoints do not name, with what was done before there were these.
LATER: dict[str, Any] = {"shift": 0, "weight_decay": None}


def main(argv: list[str] | None = None, prog: str = "pixelrnn") -> int:
    """Runs a command; the exit status."""
    argv = sys.argv[1:] if argv is None else argv
    if hasattr(sys.stdout, "reconfigure"):  # as standard error does: a path may hold what the terminal cannot show
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        parser, train_parser = _parsers(prog)
        options = parser.parse_args(argv)
        command = f"{_launched() or prog} {shlex.join(argv)}"
        with _warnings_in_a_line(prog):
            if options.run is commands.train:
                return commands.train(options, command, lambda stored: _parse_again(train_parser, argv, stored))
            if options.run is bench:
                return bench(options, command)
            return options.run(options)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except (OSError, TypeError, ValueError, RuntimeError, FloatingPointError, MemoryError, MissingPackage) as error:
        # The processes of a machine fail alike, but for those where torch fails, as when the memory of one GPU is full.
        if os.environ.get("LOCAL_RANK", "0") == "0" or isinstance(error, RuntimeError):
            print(f"{prog}: {_sentence(error)}", file=sys.stderr)
        return FAILED


@contextmanager
def _warnings_in_a_line(prog: str) -> Iterator[None]:
    """Warnings without the line of Python that gave them, from one process of a machine."""

    def show(message: Warning | str, *_: object, **__: object) -> None:
        if os.environ.get("LOCAL_RANK", "0") == "0":
            print(f"{prog}: {_sentence(message)}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def _launched() -> str | None:
    """How torchrun started this process, if it did."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return None
    machines, processes = int(os.environ["GROUP_WORLD_SIZE"]), os.environ["LOCAL_WORLD_SIZE"]
    nodes = f"--nnodes {machines} " if machines > 1 else ""
    return f"torchrun {nodes}--nproc-per-node {processes} -m pixelrnn_ext"


def info(options: argparse.Namespace) -> int:
    """The versions, the machine, what was compiled in and what is missing: what a bug report needs."""
    version, *others = build_config().items()
    facts = dict([version, *machine.facts().items(), *others])
    width = max(map(len, facts)) + 1
    for key, value in facts.items():
        print(f"{key + ':':<{width}} {_readable(value)}")
    return 0


def _readable(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "-"
    return str(value)


def _parse_again(parser: argparse.ArgumentParser, argv: list[str], stored: dict[str, Any]) -> argparse.Namespace:
    """The options of a training with those that are given now, which must not contradict it."""
    length = ("steps", "epochs")
    stored = LATER | stored
    others = {name: value for name, value in stored.items() if name not in length}
    options = parser.parse_args(argv[1:], argparse.Namespace(**others))
    if not any(getattr(options, name) for name in length):
        vars(options).update((name, stored.get(name)) for name in length)
    for name, value in vars(options).items():
        if name not in MAY_CHANGE and value != stored.get(name):
            option, before = name.replace("_", "-"), stored.get(name)
            if name not in stored:
                raise ValueError(f"expected --{option} in the checkpoint, which does not say how the training began")
            if before is None or isinstance(before, bool):
                given = f"--no-{option}" if value is False else f"--{option}"
                began = "without which the training began: --resume goes on with its options"
                raise ValueError(f"expected no {given}, {began}")
            raise ValueError(f"expected --{option} {before}, with which the training began, got {value}")
    return options


def _sentence(error: BaseException | str) -> str:
    """An exception in one line."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0]  # what follows it in torch's errors is where in its sources they were raised


def _size(text: str) -> list[int]:
    sides = text.split("x")
    if not all(side.isdecimal() and int(side) for side in sides) or len(sides) > 2:
        raise argparse.ArgumentTypeError(f"expected a size such as 32 or 24x32 (height x width), got {text!r}")
    return [int(sides[0]), int(sides[-1])]


def _named(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("expected a path, got an empty one")
    return text


def _picture(text: str) -> Path:
    return Path(_named(text))


def _whole(least: int) -> Callable[[str], int]:
    """Type of an option that takes integers of at least ``least``."""

    def integer(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) < 2**63:
            raise argparse.ArgumentTypeError(f"expected an integer >= {least} of 64 bits, got {text!r}")
        return int(text)

    return integer


def _add_data(parser: argparse.ArgumentParser, what: str) -> None:
    group = parser.add_argument_group("data set")
    names = ", ".join(data.DATA_SETS)
    group.add_argument("--data", type=data.absolute, metavar="NAME[:PATH]", help=f"{what}: one of {names}")
    group.add_argument(
        "--binarisation", choices=data.BINARISATIONS, help="of mnist and mnist5k: once (default), or for every batch"
    )
    group.add_argument("--image-size", type=_size, metavar="HxW", help="folder: size of the images, 32x32 by default")
    group.add_argument(
        "--fit", choices=images.FITS, help="folder: scale and cut at the centre (default), scale, or cut"
    )
    group.add_argument("--gray", action="store_true", default=None, help="folder: one channel instead of three")
    group.add_argument(
        "--strict", action="store_true", default=None, help="folder: an unreadable file is an error, not skipped"
    )
    group.add_argument(
        "--max-pixels",
        type=_whole(1),
        metavar="COUNT",
        help=f"folder: larger pictures are unreadable, {images.MAX_PIXELS} by default",
    )


def _add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, ...; a GPU by default where there is one")


def _add_drawing(parser: argparse.ArgumentParser, count: int) -> None:
    parser.add_argument(
        "checkpoint", metavar="CHECKPOINT", help="a checkpoint, or the folder of a training: its best one"
    )
    parser.add_argument(
        "--out", type=_picture, required=True, metavar="FILE.png", help="the picture; .jpg and .webp (lossless) too"
    )
    parser.add_argument("--count", type=_whole(1), default=count, help="images (default %(default)s)")
    parser.add_argument("--temperature", type=float, default=1.0, help="the logits are divided by it")
    parser.add_argument("--seed", type=_whole(0), default=0)
    parser.add_argument(
        "--batch-size", type=_whole(1), default=16, help="images drawn at once; Ctrl-C keeps whole batches"
    )
    _add_device(parser)


def _parsers(prog: str) -> tuple[argparse.ArgumentParser, argparse.ArgumentParser]:
    """The command's parser, and that of ``train`` alone."""
    parser = argparse.ArgumentParser(prog=prog, description="Trains, scores and samples PixelRNN and PixelCNN.")
    parser.add_argument("--version", action="version", version=f"pixelrnn_ext {VERSION}")
    parser.set_defaults(run=info)
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND")

    def command(run: Callable[..., int], summary: str) -> argparse.ArgumentParser:
        added = subparsers.add_parser(run.__name__, help=summary, description=run.__doc__)
        added.set_defaults(run=run)
        return added

    command(info, "what was compiled in (the default)")

    trainer = command(commands.train, "train a model")
    trainer.add_argument(
        "--out",
        type=_named,
        required=True,
        metavar="DIR",
        help="folder for checkpoints, log and pictures; several machines must all see it",
    )
    begin = trainer.add_mutually_exclusive_group()
    begin.add_argument("--resume", action="store_true", help="go on with the training in --out, with its options")
    begin.add_argument("--overwrite", action="store_true", help="remove a training in --out, and begin anew")
    _add_data(trainer, "what to train on")
    _add_device(trainer)
    model = trainer.add_argument_group("model")
    names = [*builder.KINDS, *models.CONFIGURATIONS]
    model.add_argument("--model", metavar="NAME", help=f"one of {', '.join(names)}")
    model.add_argument("--conditional", action="store_true", help="the model is told the class")
    width = model.add_mutually_exclusive_group()
    width.add_argument("--hidden-channels", type=_whole(1), help="h; the maps have 2h channels (16)")
    width.add_argument("--parameters", type=_whole(1), help="choose hidden channels such that there are about so many")
    model.add_argument(
        "--layer", choices=("row", "diagonal"), help="multiscale: its recurrent layer, diagonal by default"
    )
    for option, help in (
        ("--num-layers", "blocks (7)"),
        ("--head-channels", "of the 1x1 convolutions before the logits (32)"),
        ("--kernel-size", "of the Row LSTM, or of PixelCNN's blocks (3)"),
        ("--factor", "multiscale: how much smaller the small image is (2)"),
        ("--upsampling-channels", "multiscale: of the map that conditions the large model (32)"),
    ):
        model.add_argument(option, type=_whole(1), help=help)
    model.add_argument("--residual", action=argparse.BooleanOptionalAction, help="residual connections (yes)")
    model.add_argument("--skip", action=argparse.BooleanOptionalAction, help="skip connections to the head (no)")
    model.add_argument("--initial-state", choices=("learned", "zero"), help="outside the image (learned)")
    model.add_argument("--backend", choices=backends.BACKENDS, help="of the recurrent layers (auto)")

    default = {field.name: field.default for field in fields(Settings)}
    training = trainer.add_argument_group("training")
    long = training.add_mutually_exclusive_group()
    long.add_argument("--steps", type=_whole(1), help="how many batches")
    long.add_argument("--epochs", type=_whole(1), help="how many times all images (20)")
    training.add_argument("--batch-size", type=_whole(1), help="of all processes together (%(default)s)")
    training.add_argument("--optimiser", choices=optimiser.OPTIMISERS, help="%(default)s by default")
    training.add_argument("--learning-rate", type=float, help="(%(default)s)")
    training.add_argument(
        "--weight-decay", type=float, help="decoupled; the optimiser's own by default: rmsprop 0, adamw 0.01"
    )
    training.add_argument(
        "--schedule", choices=optimiser.SCHEDULES, help="of the learning rate, %(default)s by default"
    )
    training.add_argument("--warmup", type=_whole(0), help="steps over which the learning rate rises (%(default)s)")
    training.add_argument("--clip", type=float, help="largest norm of the gradient (%(default)s; 0: none)")
    training.add_argument(
        "--ema", type=float, metavar="DECAY", help="score a moving average of the weights, such as 0.999"
    )
    training.add_argument("--bf16", action="store_true", help="train under bfloat16 autocast")
    training.add_argument("--flip", action="store_true", help="mirror images at random")
    training.add_argument(
        "--shift", type=_whole(0), metavar="PIXELS", help="move images at random by up to so many (%(default)s)"
    )
    training.add_argument("--seed", type=_whole(0), help="(%(default)s)")
    training.add_argument(
        "--samples", type=_whole(0), help="in the picture after each epoch (%(default)s; 0: no picture)"
    )
    training.add_argument(
        "--save-every", type=_whole(1), help="steps between checkpoints inside an epoch (%(default)s)"
    )
    trainer.set_defaults(**default)

    evaluator = command(commands.evaluate, "score a model")
    evaluator.add_argument(
        "checkpoint", metavar="CHECKPOINT", help="a checkpoint, or the folder of a training: its best one"
    )
    _add_data(evaluator, "what to score, by default what it was trained on")
    evaluator.add_argument("--split", choices=data.SPLITS, default="test", help="%(default)s by default")
    evaluator.add_argument("--batch-size", type=_whole(1), default=16, help="images at once (%(default)s)")
    _add_device(evaluator)

    sampler = command(commands.sample, "draw images")
    _add_drawing(sampler, 16)
    sampler.add_argument("--size", type=_size, metavar="HxW", help="of an image, by default as in training")
    sampler.add_argument("--columns", type=_whole(1), help="of the picture")
    sampler.add_argument("--label", help="class of all images; by default one class after the other")

    completer = command(commands.complete, "draw hidden parts of images")
    _add_drawing(completer, 8)
    completer.add_argument(
        "--hide",
        default="lower-half",
        metavar="WHAT",
        help="lower-half (default), box, or an image file of the images' size: white is hidden",
    )
    completer.add_argument("--completions", type=_whole(1), default=3, help="rows of the picture (%(default)s)")
    _add_data(completer, "whose images, by default what it was trained on")
    completer.add_argument("--split", choices=data.SPLITS, default="test", help="%(default)s by default")

    timer = command(bench, "time the layers on this machine")
    timer.add_argument(
        "--only", default="", metavar="TEXT", help="the cases whose name contains it, and slower ones too"
    )
    timer.add_argument("--threads", type=_whole(1), metavar="N", help="2 by default")
    timer.add_argument("--markdown", action="store_true", help="as a table of Markdown, for a bug report")
    return parser, trainer
