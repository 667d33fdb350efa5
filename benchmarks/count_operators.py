"""Counts the operators that torch dispatches on a GPU in one training step, ours and PyTorch's. Needs no GPU.

A view or an allocation of memory launches nothing, so it is not an operator here.
"""

import argparse
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import nn

from harness.fake_gpu import fake_gpu
from harness.operator_counter import ALLOCATION, OPERATOR, VIEW, OperatorCounter
from pixelrnn_ext.benchmark.tables import grid
from pixelrnn_ext.training import optimiser
from pixelrnn_ext.training.builder import build
from pixelrnn_ext.training.data import SPLITS, DataSet, Split
from pixelrnn_ext.training.distributed import World
from pixelrnn_ext.training.loop import Training
from pixelrnn_ext.training.settings import Settings

PHASES = "forward", "backward", "clip", "optimiser", "average", "rest"
OURS = ("pixelrnn_ext::", "triton::")


def count_step(
    model: str, *, rgb: bool = False, conditional: bool = False, sizes: dict[str, int] | None = None, **settings: Any
) -> tuple[OperatorCounter, Training]:
    """Counts the operators of a training's second step, as the first step also makes the optimiser's state.

    Returns the counts, and the training, whose tensors are fake.

    Args:
        model: as in pixelrnn_ext.training.builder.build.
        rgb: whether the images have three colours of 256 levels, not one of two.
        conditional: whether the class of an image is its condition.
        sizes: arguments of the model's class.
        settings: fields of pixelrnn_ext.training.settings.Settings.
    """
    data = _data(rgb or model.startswith(("cifar10", "imagenet")))
    with fake_gpu() as counter:
        world = World(0, 1, torch.device("cuda:0"))
        with world.device:
            network = build(model, data, conditional=conditional, **(sizes or {}))
        # torch cannot move fake parameters, and these already lie on the device.
        with mock.patch.object(nn.Module, "to", lambda module, *device: module), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of a copy of fake parameters
            training = Training(network, data, Settings(**settings), world, Path(), say=lambda line: None)
        with _phases(training, counter):
            training._step(0)
            counter.counts.clear()
            counter.waits.clear()
            training._step(1)
    return counter, training


def _data(rgb: bool) -> DataSet:
    levels, shape = (256, (3, 32, 32)) if rgb else (2, (1, 28, 28))
    images = torch.zeros(64, *shape, dtype=torch.uint8)
    splits = {split: Split(images, torch.arange(64) % 2) for split in SPLITS}
    return DataSet("zeros", "zeros", levels, splits, ("a", "b"))


@contextmanager
def _phases(training: Training, counter: OperatorCounter) -> Iterator[None]:
    """Names the phases of the steps of a training."""
    counter.phase = "rest"
    places: list[tuple[Any, str, str]] = [
        (training.likelihood, "forward", "forward"),
        (torch.Tensor, "backward", "backward"),
        (optimiser, "clip_gradients", "clip"),
        (training.optimiser, "step", "optimiser"),
    ]
    if training.average is not None:
        places.append((training.average, "update_parameters", "average"))
    with ExitStack() as stack:
        for owner, name, phase in places:
            stack.enter_context(mock.patch.object(owner, name, _counted(getattr(owner, name), counter, phase)))
        yield


def _counted(function: Callable[..., Any], counter: OperatorCounter, phase: str) -> Callable[..., Any]:
    def run(*args: Any, **options: Any) -> Any:
        with counter.phases(phase):
            return function(*args, **options)

    return run


def totals(counter: OperatorCounter, ours: bool) -> dict[str, int]:
    """Returns the number of operators of each phase, ours or PyTorch's."""
    found: Counter[str] = Counter()
    for (phase, kind, name), number in counter.counts.items():
        if kind == OPERATOR and name.startswith(OURS) == ours:
            found[phase] += number
    return {phase: found[phase] for phase in PHASES}


def table(counter: OperatorCounter, names: int) -> str:
    ours, theirs = totals(counter, True), totals(counter, False)
    rows = []
    for phase in PHASES:
        found = sorted(
            ((n, name.removeprefix("aten::")) for (p, kind, name), n in counter.counts.items()
             if p == phase and kind == OPERATOR and not name.startswith(OURS)),
            key=lambda item: (-item[0], item[1]),
        )  # fmt: skip
        most = ", ".join(f"{n} {name}" for n, name in found[:names])
        rest = [str(counter.total(phase, kind)) for kind in (VIEW, ALLOCATION)]
        rows.append([phase, str(ours[phase]), str(theirs[phase]), *rest, most])
    sums = [str(sum(int(row[column]) for row in rows)) for column in range(1, 5)]
    columns = ["phase", "ours", "PyTorch's", "views", "allocations", "PyTorch's most frequent"]
    return grid(columns, [*rows, ["all", *sums, ""]], markdown=False)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="mnist-diagonal")
    parser.add_argument("--names", type=int, default=8, help="how many operators to name in each phase (%(default)s)")
    options = parser.parse_args(arguments)
    counter, _ = count_step(options.model)
    print(table(counter, options.names))
    print("waits for the GPU:", ", ".join(f"{n} {name}" for name, n in counter.waits.items()) or "none")


if __name__ == "__main__":
    main(sys.argv[1:])
