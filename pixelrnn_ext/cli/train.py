"""``pixelrnn train``, and what a resumed training may have other than before."""

import argparse
from dataclasses import fields
from typing import Any

from .. import models
from ..operators import backends
from ..training import builder, data, optimiser
from ..training.commands.train import NOT_STORED, train
from ..training.settings import Settings
from .arguments import add_data, add_device, add_out, whole

SUMMARY = "train a model"
EXAMPLES = (
    "--data mnist5k --model diagonal --epochs 12 --out runs/digits",
    "--out runs/digits --resume --epochs 20",
    "--data folder:pictures --image-size 32 --model row --parameters 500000 --ema 0.999 --out runs/pictures",
)

# What a resumed training may have other than before.
MAY_CHANGE = {
    *NOT_STORED,
    "out",
    "steps",
    "epochs",
    "samples",
    "save_every",
    "tensorboard",
    "device",
    "backend",
}
MAY_CHANGE |= {"data", *data.FOLDER_OPTIONS}  # a folder may move; stored_data.py looks at what is in it
# Options that older checkpoints do not name, with what was done before there were these.
LATER: dict[str, Any] = {"shift": 0, "weight_decay": None}


def run(options: argparse.Namespace, command: str, argv: list[str]) -> int:
    """Trains a model, and scores the best one on the test split."""
    return train(options, command, lambda stored: _parse_again(argv, stored))


def add(parser: argparse.ArgumentParser) -> None:
    add_out(
        parser,
        "training",
        metavar="DIR",
        help="folder for checkpoints, log and pictures; several machines must all see it",
    )
    parser.add_argument(
        "--tensorboard",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="write the log for TensorBoard, too, into a folder of that name in --out",
    )
    begin = parser.add_mutually_exclusive_group()
    begin.add_argument("--resume", action="store_true", help="go on with the training in --out, with its options")
    begin.add_argument("--overwrite", action="store_true", help="remove a training in --out, and begin anew")
    add_data(parser, "what to train on")
    add_device(parser)
    model = parser.add_argument_group("model")
    names = [*builder.KINDS, *models.CONFIGURATIONS]
    model.add_argument("--model", metavar="NAME", help=f"one of {', '.join(names)}")
    model.add_argument("--conditional", action="store_true", help="the model is told the class")
    width = model.add_mutually_exclusive_group()
    width.add_argument("--hidden-channels", type=whole(1), help="h; the maps have 2h channels (16)")
    width.add_argument("--parameters", type=whole(1), help="choose hidden channels such that there are about so many")
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
        model.add_argument(option, type=whole(1), help=help)
    model.add_argument("--residual", action=argparse.BooleanOptionalAction, help="residual connections (yes)")
    model.add_argument("--skip", action=argparse.BooleanOptionalAction, help="skip connections to the head (no)")
    model.add_argument("--initial-state", choices=("learned", "zero"), help="outside the image (learned)")
    model.add_argument("--backend", choices=backends.BACKENDS, help="of the recurrent layers (auto)")

    default = {field.name: field.default for field in fields(Settings)}
    training = parser.add_argument_group("training")
    long = training.add_mutually_exclusive_group()
    long.add_argument("--steps", type=whole(1), help="how many batches")
    long.add_argument("--epochs", type=whole(1), help="how many times all images (20)")
    training.add_argument("--batch-size", type=whole(1), help="of all processes together (%(default)s)")
    training.add_argument("--optimiser", choices=optimiser.OPTIMISERS, help="%(default)s by default")
    training.add_argument("--learning-rate", type=float, help="(%(default)s)")
    training.add_argument(
        "--weight-decay", type=float, help="decoupled; the optimiser's own by default: rmsprop 0, adamw 0.01"
    )
    training.add_argument(
        "--schedule", choices=optimiser.SCHEDULES, help="of the learning rate, %(default)s by default"
    )
    training.add_argument("--warmup", type=whole(0), help="steps over which the learning rate rises (%(default)s)")
    training.add_argument("--clip", type=float, help="largest norm of the gradient (%(default)s; 0: none)")
    training.add_argument(
        "--ema", type=float, metavar="DECAY", help="score a moving average of the weights, such as 0.999"
    )
    training.add_argument("--bf16", action="store_true", help="train under bfloat16 autocast")
    training.add_argument("--flip", action="store_true", help="mirror images at random")
    training.add_argument(
        "--shift", type=whole(0), metavar="PIXELS", help="move images at random by up to so many (%(default)s)"
    )
    training.add_argument("--seed", type=whole(0), help="(%(default)s)")
    training.add_argument(
        "--samples", type=whole(0), help="in the picture after each epoch (%(default)s; 0: no picture)"
    )
    training.add_argument("--save-every", type=whole(1), help="steps between checkpoints inside an epoch (%(default)s)")
    parser.set_defaults(**default)


def _parse_again(argv: list[str], stored: dict[str, Any]) -> argparse.Namespace:
    """The options of a training with those that are given now, which must not contradict it."""
    parser = argparse.ArgumentParser()
    add(parser)
    length = ("steps", "epochs")
    stored = LATER | stored
    others = {name: value for name, value in stored.items() if name not in length}
    options = parser.parse_args(argv, argparse.Namespace(**others))
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
