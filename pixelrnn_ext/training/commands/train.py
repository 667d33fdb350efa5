"""What ``pixelrnn train`` does."""

import shlex
from argparse import Namespace
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from ..._command import INTERRUPTED
from ...operators import library
from ...operators.library import VERSION
from .. import builder, checkpoint, data, distributed, output, stored_data
from ..interrupt import Interrupt
from ..loop import Training
from ..optional import need
from ..settings import Settings
from ..summary import parameters_in_words
from ..tensorboard import need_tensorboard
from .evaluate import headline, nats_of, versions
from .inputs import check_writable, data_options, given, why_slow

NOT_STORED = {"run", "writes", "resume", "overwrite", "force"}  # options of one command, not of the training
MODEL_OPTIONS = (
    "layer",
    "hidden_channels",
    "num_layers",
    "head_channels",
    "kernel_size",
    "residual",
    "skip",
    "initial_state",
    "factor",
    "upsampling_channels",
    "backend",
)


def train(options: Namespace, command: str, parse_again: Callable[[dict[str, Any]], Namespace]) -> int:
    """Begins a training, or goes on with one, to its end or to Ctrl-C.

    Args:
        command: the whole line, which a checkpoint keeps.
        parse_again: makes the options of a resumed training, from those that its checkpoint stores.
    """
    for package in ("filelock", "safetensors.torch", "tqdm"):  # not after an hour of work
        need(package)
    out = Path(options.out)
    last = output.resumable(out)
    there = next(above for above in last.parents if above.exists())
    if not there.is_dir():
        raise NotADirectoryError(f"expected --out to be a folder, got {there}")
    check_writable(there)
    if options.resume:
        if not last.exists():
            raise FileNotFoundError(f"expected a training to go on with in --out, got no checkpoint in {out}")
        before = checkpoint.load(last)[1]
        stored = before.get("arguments")
        if stored is None:
            raise ValueError(f"expected a checkpoint that this command wrote, got another one: {last}")
        options = parse_again(stored)
    if options.tensorboard:
        need_tensorboard()
    if options.data is None or options.model is None:
        raise ValueError("expected --data and --model")
    _check_kernels(options)
    if not options.resume:
        builder.check_options(options.model, given(vars(options), MODEL_OPTIONS))
    settings = Settings(**{field.name: getattr(options, field.name) for field in fields(Settings)})

    def load() -> data.DataSet:
        if options.resume:
            return stored_data.load_again(before, options.data, same=True, **data_options(options))
        return data.load(options.data, **data_options(options))

    with distributed.world(options.device) as here, ExitStack() as stack:
        with here.alike():
            if here.first:  # it writes, and downloads
                stack.enter_context(output.locked(out, command))
                if not (options.resume or options.overwrite):
                    output.check_unused(out)
                dataset = load()
        if not here.first:
            dataset = load()
        dataset.check_not_empty(*data.SPLITS)
        torch.manual_seed(settings.seed)
        torch.backends.cudnn.deterministic = True  # its other kernels add in any order; --resume goes on to the bit
        model = builder.build(
            options.model,
            dataset,
            conditional=options.conditional,
            parameters=options.parameters,
            **given(vars(options), MODEL_OPTIONS),
        )
        arguments = {name: value for name, value in vars(options).items() if name not in NOT_STORED}
        say = need("tqdm").tqdm.write if here.first else lambda line: None
        facts: dict[str, Any] = {"arguments": arguments, "command": command, "version": VERSION}
        training = Training(model, dataset, settings, here, out, facts, say, options.overwrite, options.tensorboard)
        if options.resume and training.resume(last).get("arguments") != stored:
            raise ValueError(f"expected no other process to train in {out}, got one a moment ago: run --resume again")
        for line in _header(command, training):
            say(line)
        with Interrupt() as stop:
            if not training.run(stop):
                go_on = f"{command.split(' train ')[0]} train --out {shlex.quote(options.out)} --resume"
                say(f"stopped after step {training.progress.step}; to go on: {go_on}")
                return INTERRUPTED
        here.barrier()
        best, facts = checkpoint.load_model(last.with_name(checkpoint.BEST), here.device)
        nats = nats_of(best, dataset, "test", here, settings.batch_size)
        score = dataset.score(nats)
        step = facts["progress"]["step"]
        if training.journal:
            training.journal.write("test", training.progress.step, score=score, best_step=step)
            training.journal.close()
        say(headline("test", score, dataset, best, step) + ", the best on validation")
    return 0


def _check_kernels(options: Namespace) -> None:
    """The source folder before the installed package is a mistake, and would cost hours."""
    if options.backend != "reference" and library.hidden_installation():
        raise ValueError(f"{library.why_no_native()}; or train slowly, with --backend reference")


def _header(command: str, training: Training) -> list[str]:
    dataset, here = training.data, training.world
    sizes = ", ".join(f"{split} {len(part)}" for split, part in dataset.splits.items())
    processes = f", {here.size} processes" if here.size > 1 else ""
    kernels = library.instruction_set() or "no native kernels"
    slow = why_slow(training.model, here.device)
    return [
        f"command     {command}",
        f"data        {dataset.description}: {sizes}; {'x'.join(map(str, dataset.shape))}",
        *(f"            {note}" for note in dataset.notes),
        f"model       {type(training.model).__name__}({training.model.extra_repr()})",
        f"parameters  {parameters_in_words(training.model)}",
        f"training    {training.steps} steps, {training.order.steps_per_epoch} an epoch"
        + (f", from step {training.progress.step}" if training.progress.step else ""),
        f"versions    {', '.join(f'{name} {version}' for name, version in versions().items())}",
        f"device      {_device(here.device)}, {torch.get_num_threads()} threads, {kernels}{processes}",
        *([f"slow        by the plain PyTorch backend: {slow}"] if slow else []),
    ]


def _device(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
