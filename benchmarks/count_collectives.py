"""Counts what processes exchange in a training, and compares it with the arithmetic of docs/several_gpus.md.

It starts 1, 2 and 4 processes on a CPU, which train one of the paper's models by gloo, and reads from torch's profiler
what reaches gloo. The images have 8x8 pixels, because the gradients do not depend on their size. It does not count the
checks before the first step, or the scores of an evaluation.
"""

import argparse
import os
import sys
import tempfile
from collections import Counter
from math import prod
from pathlib import Path
from typing import Any
from unittest import mock

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # read when torch is imported

import torch
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

import pixelrnn_ext as px
from pixelrnn_ext.benchmark.tables import grid
from pixelrnn_ext.models import CONFIGURATIONS
from pixelrnn_ext.training import loop, stopping
from pixelrnn_ext.training.data import SPLITS, DataSet, Split
from pixelrnn_ext.training.distributed import world
from pixelrnn_ext.training.settings import Settings

BYTES = {"float": 4, "double": 8, "int": 4, "long int": 8}
MODELS = "mnist-diagonal", "cifar10-row"
# DistributedDataParallel closes a bucket that has at least this number of bytes. The first bucket has another limit.
FIRST_BUCKET, BUCKET = 2**20, 25 * 2**20
# {(collective, bytes of a call): calls} of a process
Calls = Counter[tuple[str, int]]


def gradient_buckets(model: px.models.AutoregressiveModel) -> list[int]:
    """Returns the bytes of each all-reduce of gradients in a step, but for the first step, which has a single one.

    Buckets follow the order in which gradients are ready, so this computes the gradients for a small image.
    """
    sizes: list[int] = []
    for p in model.parameters():
        p.register_post_accumulate_grad_hook(lambda p: sizes.append(p.numel() * p.element_size()))
    model.bits_per_dim(torch.zeros(1, model.image_channels, 8, 8, dtype=torch.uint8)).backward()
    found = [0]
    for size in sizes:
        if found[-1] >= (BUCKET if found[1:] else FIRST_BUCKET):
            found.append(0)
        found[-1] += size
    return found


def arithmetic(name: str, n: int, steps: int) -> Calls:
    """Returns the exchanges of a training in ``n`` processes that exchange flags before each step."""
    if n == 1:
        return Counter()
    model = px.from_name(name)
    buckets = gradient_buckets(model)
    calls = Counter(("all_reduce", size) for size in [sum(buckets), *buckets * (steps - 1)])
    # After the first step, the first process tells the order of the parameters and the number of each bucket.
    for values in (len(list(model.parameters())) + 1, len(buckets)):
        calls["broadcast", 4 * values] += steps > 1
    calls["all_reduce", 16] += steps  # a flag and the time of a step, in float64
    calls["all_reduce", 8] += 2  # before the first step: is an evaluation to be repeated; after the last: the flag
    calls["all_reduce", 4] += steps // loop.LOG_EVERY  # the loss, for the log
    return +calls


def train(name: str, steps: int) -> Calls:
    """Trains in one of the processes, and returns its exchanges."""
    torch.set_num_threads(1)
    model = px.from_name(name)
    images = torch.zeros(4, model.image_channels, 8, 8, dtype=torch.uint8)
    splits = {split: Split(images, torch.zeros(4, dtype=torch.long)) for split in SPLITS}
    data = DataSet("zeros", "zeros", model.levels, splits, ("a",))
    found: Calls = Counter()

    def profiled(run: Any, *arguments: Any) -> bool:
        with torch.autograd.profiler.profile(use_kineto=False, record_shapes=True) as profiler:
            result = run(*arguments)
        for event in profiler.function_events:
            if event.name.startswith("gloo:"):
                sizes = [prod(shape) * BYTES[dtype] for shape, dtype in zip(event.input_shapes, event.input_dtypes)]
                found[event.name.removeprefix("gloo:"), sum(sizes)] += 1
        return result

    with world("cpu") as here, tempfile.TemporaryDirectory() as out, mock.patch.object(stopping, "SECONDS", 0):
        settings = Settings(batch_size=4, steps=steps, samples=0, compile="off")
        training = loop.Training(model, data, settings, here, Path(out), say=lambda line: None)
        training._evaluation_is_due, run = lambda: False, training._run
        training._run = lambda stop: profiled(run, stop)
        assert training.run()
    return found


def count(name: str, n: int, steps: int) -> Calls:
    """Returns the exchanges of each of ``n`` processes. Raises ValueError if they differ."""
    config = LaunchConfig(1, 1, n, run_id="count", rdzv_backend="c10d", rdzv_endpoint="localhost:0")
    first, *others = elastic_launch(config, train)(name, steps).values()
    if any(other != first for other in others):
        raise ValueError(f"expected the same exchanges in all processes, got {[first, *others]}")
    return first


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=MODELS, choices=CONFIGURATIONS)
    parser.add_argument("--processes", nargs="+", type=int, default=[1, 2, 4])
    parser.add_argument("--steps", type=int, default=loop.LOG_EVERY + 1)
    options = parser.parse_args(arguments)
    lines, wrong = [], []
    for name in options.models:
        for n in options.processes:
            found, expected = count(name, n, options.steps), arithmetic(name, n, options.steps)
            for key in sorted({*found, *expected}, key=lambda key: (key[0], -key[1])) or [("none", 0)]:
                lines.append([name, str(n), key[0], f"{key[1]:,}", str(found[key]), str(expected[key])])
                if found[key] != expected[key]:
                    wrong.append(
                        f"{name}, {n} processes: expected {expected[key]} calls of {key[0]} with {key[1]} bytes, "
                        f"got {found[key]}."
                    )
    print(grid(["model", "processes", "collective", "bytes of a call", "calls", "by arithmetic"], lines, True))
    agreed = f"Each process did {options.steps} steps. All calls and bytes are as the arithmetic says."
    print("", *wrong or [agreed], sep="\n")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
