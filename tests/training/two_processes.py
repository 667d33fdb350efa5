"""Program that the tests start in two processes.

It trains an LSTM2d. Then it runs a training, and the same training with two signals.
"""

import signal
import sys
from contextlib import nullcontext, redirect_stdout
from unittest.mock import patch

import torch
from torch.nn.parallel import DistributedDataParallel

from helpers.scans import make_layer, ragged_sizes
from pixelrnn_ext import cli
from pixelrnn_ext.training import distributed, loop, stopping

IMAGES, HEIGHT, WIDTH, STEPS = 4, 5, 6, 3


def train_lstm2d(here):
    torch.manual_seed(0)
    layer = make_layer("stable")
    x, sizes = torch.randn(IMAGES, 2, HEIGHT, WIDTH, dtype=torch.float64), ragged_sizes(IMAGES, HEIGHT, WIDTH)
    wrapped = DistributedDataParallel(layer) if here.size > 1 else layer
    optimiser = torch.optim.SGD(layer.parameters(), 0.5)
    for _ in range(STEPS):
        optimiser.zero_grad()
        wrapped(x[here.rank :: here.size], sizes[here.rank :: here.size]).square().mean().backward()
        optimiser.step()
    return layer.state_dict()


def command_in_float64(arguments):
    """Runs a command in float64, so that one and two processes agree up to rounding. A training logs every 4 steps."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with patch.object(loop, "LOG_EVERY", 4):
            return cli.main(arguments)
    finally:
        torch.set_default_dtype(before)


def stop_twice(here, training, out):
    """Runs a training in three parts. Process 1 gets a signal in step 4, and in the first evaluation."""

    def signalled(function, is_now=lambda *_: True):
        def run(*args, **options):
            if here.rank == 1 and is_now(*args):
                signal.raise_signal(signal.SIGTERM)
            return function(*args, **options)

        return run

    step = signalled(loop.Training._step, lambda training, step: step == 4)
    in_step = patch.object(loop.Training, "_step", step)
    in_evaluation = patch.object(loop, "nats_per_image", signalled(loop.nats_per_image))
    with patch.object(stopping, "SECONDS", 0):  # an exchange for each step
        for fault, options in ((in_step, []), (in_evaluation, ["--resume"])):
            with fault:
                assert command_in_float64([*training, out, *options]) == 130
            here.barrier()  # process 1 does not wait for the checkpoint, which process 0 writes
    assert command_in_float64([*training, out, "--resume"]) == 0


if __name__ == "__main__":
    folder, *training = sys.argv[1:]
    with distributed.world("cpu") as here:
        torch.save(train_lstm2d(here), f"{folder}/lstm2d-{here.rank}.pt")
        # A process can join a group only once, so this uses the existing one.
        distributed.world = lambda *_: nullcontext(here)
        assert command_in_float64(training) == 0
        with redirect_stdout(sys.stderr):
            stop_twice(here, training[:-1], f"{folder}/stopped")
