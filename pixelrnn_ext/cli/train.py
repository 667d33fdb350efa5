import shlex
from argparse import ArgumentParser, BooleanOptionalAction, Namespace
from contextlib import ExitStack
from dataclasses import Field, fields
from pathlib import Path
from typing import Any

import torch

from .. import models
from .._command import INTERRUPTED
from ..operators import backends, library
from ..training import builder, checkpoint, data, distributed, output, stored_data
from ..training.evaluation import split_score
from ..training.interrupt import Interrupt, ignore_signals
from ..training.journal import TENSORBOARD
from ..training.loop import Training
from ..training.optional import need
from ..training.settings import POSITIVE, Settings
from .arguments import non_negative, positive, up_to
from .evaluate import headline, versions
from .info import parameters_in_words
from .inputs import add_data, add_device, data_options, select_options, why_slow
from .outputs import add_out, check_writable

SUMMARY = "train a model"
EXAMPLES = (
    "--data mnist5k --model diagonal --epochs 12 --out runs/digits",
    "--out runs/digits --resume --epochs 20",
    "--data folder:pictures --image-size 32 --model row --parameters 500000 --ema 0.999 --out runs/pictures",
)

# Checkpoints do not store the options in NOT_STORED, because each of these options concerns only one run of the
# command.
NOT_STORED = {"run", "writes", "out_flag", "resume", "overwrite", "force", "timeout", "threads"}


def _count(help: str, maximum: int = 2**16) -> dict[str, Any]:
    return dict(type=up_to(maximum), help=help)


MODEL_OPTIONS: dict[str, dict[str, Any]] = {
    "hidden_channels": _count("h; the maps have 2h channels (16)"),
    "parameters": _count("approximate number, instead of --hidden-channels", 10**12),
    "layer": dict(choices=("row", "diagonal"), help="multiscale: its recurrent layer, diagonal by default"),
    "num_layers": _count("blocks (7)", 10**4),
    "head_channels": _count("of the 1x1 convolutions before the logits (32)"),
    "kernel_size": _count("of the Row LSTM, or of PixelCNN's blocks (3)"),
    "factor": _count("multiscale: how much smaller the small image is (2)"),
    "upsampling_channels": _count("multiscale: of the map that conditions the large model (32)"),
    "residual": dict(action=BooleanOptionalAction, help="residual connections (yes)"),
    "skip": dict(action=BooleanOptionalAction, help="skip connections to the head (no)"),
    "initial_state": dict(choices=("learned", "zero"), help="outside the image (learned)"),
    "backend": dict(choices=backends.BACKENDS, help="of the recurrent layers (auto)"),
}
WIDTH = ("hidden_channels", "parameters")
LENGTH = ("steps", "epochs")
# Options that --resume may change. --data is one, because a folder of images may have moved.
MAY_CHANGE = NOT_STORED | {"out", *LENGTH, "samples", "save_every", "tensorboard", "device", "backend", "test"}
MAY_CHANGE |= {"data", "streaming", *data.FOLDER_OPTIONS}
# --resume may change these options to the value that is given here, and to no other.
MAY_BECOME = (("compile", "off"),)
# Checkpoints of older versions do not store the options in OLD_DEFAULTS. For each of these options, OLD_DEFAULTS holds
# the value with which older versions trained.
OLD_DEFAULTS: dict[str, Any] = {"shift": 0, "weight_decay": None, "compile": "off", "accumulate": 1}


def add(parser: ArgumentParser) -> None:
    add_out(parser, "training", metavar="DIR", help="folder of checkpoints, log and pictures; all machines must see it")
    parser.add_argument(
        "--tensorboard", action=BooleanOptionalAction, default=False, help="also log to tensorboard in --out"
    )
    parser.add_argument(
        "--test", action=BooleanOptionalAction, default=True, help="score the test split at the end (yes)"
    )
    begin = parser.add_mutually_exclusive_group()
    resume = "go on with the training in --out, with its options; auto: begin one if there is none"
    begin.add_argument("--resume", nargs="?", const=True, default=False, choices=("auto",), help=resume)
    begin.add_argument("--overwrite", action="store_true", help="remove a training in --out, and begin anew")
    add_data(parser, "what to train on")
    add_device(parser)
    model = parser.add_argument_group("model")
    model.add_argument("--model", metavar="NAME", help=f"one of {', '.join([*builder.KINDS, *models.CONFIGURATIONS])}")
    model.add_argument("--conditional", action="store_true", help="condition the model on the class")
    width = model.add_mutually_exclusive_group()
    for name, option in MODEL_OPTIONS.items():
        (width if name in WIDTH else model).add_argument(_flag(name), **option)
    training = parser.add_argument_group("training")
    length = training.add_mutually_exclusive_group()
    for setting in sorted(fields(Settings), key=lambda setting: setting.name not in LENGTH):
        group = length if setting.name in LENGTH else training
        group.add_argument(_flag(setting.name), default=setting.default, **_option(setting))


def _option(setting: Field) -> dict[str, Any]:
    metadata = setting.metadata
    option: dict[str, Any] = dict(help=metadata["help"])
    if setting.type is bool:
        return option | dict(action="store_true")
    if metadata["choices"]:
        return option | dict(choices=metadata["choices"])
    is_float = setting.type in (float, float | None)
    kind = float if is_float else positive if metadata["allowed"] is POSITIVE else non_negative
    return option | dict(type=kind, metavar=metadata["metavar"])


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def run(options: Namespace, command: str, argv: list[str]) -> int:
    """Trains a model. Then scores the best checkpoint on the test split, except with ``--no-test``."""
    # A package must not turn out to be missing after hours of training.
    for package in ("filelock", "safetensors.torch", "tqdm"):
        need(package)
    out = Path(options.out)
    last = output.resume_path(out)
    existing = next(folder for folder in last.parents if folder.exists())
    if not existing.is_dir():
        raise NotADirectoryError(f"expected --out to be a folder, got {existing}")
    check_writable(existing)
    if options.resume == "auto":
        options.resume = last.exists()
    if options.resume:
        if not last.exists():
            raise FileNotFoundError(f"expected a training to go on with in --out, got no checkpoint in {out}")
        before = checkpoint.load(last)[1]
        stored = before.get("arguments")
        if stored is None:
            raise ValueError(f"expected a checkpoint that this command wrote, got {last}")
        began = dict(stored)
        if began.get("compile") == "auto":  # older versions had this choice, and decided before the first step
            began["compile"] = "on" if before.get("compiled") else "off"
        options = _parse_again(argv, began)
    if options.tensorboard:
        need(*TENSORBOARD)
    if options.data is None or options.model is None:
        raise ValueError("expected both --data and --model")
    if options.backend != "reference" and library.hidden_installation():
        raise ValueError(f"{library.why_no_native()}; or train slowly, with --backend reference")
    model_options = select_options(vars(options), MODEL_OPTIONS)
    if not options.resume:
        builder.check_options(options.model, model_options)
    settings = Settings(**{field.name: getattr(options, field.name) for field in fields(Settings)})

    def load() -> data.DataSet:
        if options.resume:
            return stored_data.load_again(before, options.data, same=True, **data_options(options))
        return data.load(options.data, **data_options(options))

    with distributed.world(options.device, options.timeout) as world, ExitStack() as stack:
        with world.fail_together():
            if world.is_first:
                stack.enter_context(output.locked(out, command))
                if not (options.resume or options.overwrite):
                    output.check_unused(out)
        dataset = world.first_then_others(load)
        dataset.check_not_empty(*data.SPLITS)
        torch.manual_seed(settings.seed)
        # A resumed training must give the same bits as one without interruption.
        torch.backends.cudnn.deterministic = True
        model = builder.build(options.model, dataset, conditional=options.conditional, **model_options)
        arguments = {name: value for name, value in vars(options).items() if name not in NOT_STORED}
        say = need("tqdm").tqdm.write if world.is_first else lambda line: None
        facts: dict[str, Any] = {"arguments": arguments, "command": command, "version": library.VERSION}
        training = Training(model, dataset, settings, world, out, facts, say, options.overwrite, options.tensorboard)
        if options.resume and training.resume(last).get("arguments") != stored:
            raise ValueError(f"expected no other process to train in {out}, got one a moment ago: run --resume again")
        for line in _header(command, training):
            say(line)
        with Interrupt() as stop:
            if not training.run(stop):
                go_on = f"{command.split(' train ')[0]} train --out {shlex.quote(options.out)} --resume"
                say(f"stopped after step {training.progress.step}; to go on: {go_on}")
                return INTERRUPTED
        if not options.test:
            with world.fail_together():
                ignore_signals()
            return 0
        world.barrier()
        best, facts = checkpoint.load_model(last.with_name(checkpoint.BEST), world.device)
        score = split_score(best, dataset, "test", world, training.images_at_once)
        with world.fail_together():
            ignore_signals()  # in all processes, before one of them says that the training is finished
        step = facts["progress"]["step"]
        if training.journal:
            training.journal.write("test", training.progress.step, score=score, best_step=step)
            training.journal.close()
        count = len(dataset.splits["test"])
        say(headline("test", score, dataset, count, best, step) + ", the best on validation")
    return 0


def _parse_again(argv: list[str], stored: dict[str, Any]) -> Namespace:
    """Returns ``stored``, the options of a checkpoint, with the changes in ``argv``.

    Raises ValueError if ``argv`` changes an option that is not in ``MAY_CHANGE`` or ``MAY_BECOME``.
    """
    parser = ArgumentParser()
    add(parser)
    stored = OLD_DEFAULTS | stored
    others = {name: value for name, value in stored.items() if name not in LENGTH}
    options = parser.parse_args(argv, Namespace(**others))
    if not any(getattr(options, name) for name in LENGTH):
        vars(options).update((name, stored.get(name)) for name in LENGTH)
    for name, value in vars(options).items():
        if name not in MAY_CHANGE and (name, value) not in MAY_BECOME and value != stored.get(name):
            flag, before = _flag(name), stored.get(name)
            if name not in stored:
                raise ValueError(f"expected {flag} in the checkpoint, which does not say how the training began")
            if before is None or isinstance(before, bool):
                got = flag.replace("--", "--no-") if value is False else flag
                began = "without which the training began: --resume goes on with its options"
                raise ValueError(f"expected no {got}, {began}")
            began, got = (" ".join(words) if isinstance(words, list) else words for words in (before, value))
            raise ValueError(f"expected {flag} {began}, with which the training began, got {got}")
    return options


def _header(command: str, training: Training) -> list[str]:
    dataset, world = training.data, training.world
    processes = f", {world.size} processes" if world.size > 1 else ""
    kernels = library.instruction_set() or "no native kernels"
    device = torch.cuda.get_device_name(world.device) if world.device.type == "cuda" else world.device
    slow = why_slow(training.model, world.device)
    return [
        f"command     {command}",
        f"data        {dataset.description}: {dataset.counts}; {'x'.join(map(str, dataset.shape))}",
        *(f"            {note}" for note in dataset.notes),
        f"model       {type(training.model).__name__}({training.model.extra_repr()})",
        f"parameters  {parameters_in_words(training.model)}",
        f"training    {training.steps} steps, {training.order.steps_per_epoch} an epoch"
        + (f", from step {training.progress.step}" if training.progress.step else ""),
        f"versions    {', '.join(f'{name} {version}' for name, version in versions().items())}",
        f"device      {device}, {torch.get_num_threads()} threads, {kernels}{processes}",
        *([f"slow        by the plain PyTorch backend: {slow}"] if slow else []),
    ]
