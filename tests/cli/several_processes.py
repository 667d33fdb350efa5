"""Program that test_several_processes.py starts in three processes. It runs each line of a file as a command.

The first word of a line names a fault, or is "none".
"""

import itertools
import os
import shlex
import signal
import sys
import threading
import time
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import patch

import torch

from pixelrnn_ext import cli, codec, sampling
from pixelrnn_ext.cli import coding
from pixelrnn_ext.training import checkpoint, distributed, evaluation


def is_process(rank):
    return torch.distributed.get_rank() == rank


def in_second_batch(rank, fault):
    """Makes process ``rank`` fail when it draws its second batch."""
    draw, calls = sampling.Sampler.draw, itertools.count(1)

    def drawn(*args, **options):
        if is_process(rank) and next(calls) == 2:
            fault()
        return draw(*args, **options)

    return patch.object(sampling.Sampler, "draw", drawn)


def full_disk():
    raise OSError(28, "No space left on device", "the disk")


def signal_to_a_waiting_process():
    """Process 1 draws nothing, and gets a signal while it waits for process 0."""
    draw = sampling.Sampler.draw
    if is_process(1):
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
    return patch.object(sampling.Sampler, "draw", lambda *args, **options: time.sleep(1) or draw(*args, **options))


def failure_of_a_process_without_work():
    return patch.object(evaluation, "check_fits", lambda *_: full_disk() if is_process(1) else None)


def failure_of_decoding():
    decode = codec.Codec._decode
    fail = lambda *args: full_disk() if is_process(1) else decode(*args)  # noqa: E731
    return patch.object(codec.Codec, "_decode", fail)


def another_model():
    load = checkpoint.load_model

    def loaded(*args):
        model, facts = load(*args)
        if is_process(2):
            next(model.parameters()).data.view(-1)[0] += 1
        return model, facts

    return patch.object(checkpoint, "load_model", loaded)


VALUES_PER_GROUP = 3000  # divides the 176 images of digits:test, which have 64 values each
# {fault: (context manager, exit status)}
FAULTS = {
    "none": (nullcontext, 0),
    "full": (lambda: in_second_batch(1, full_disk), 2),
    "interrupted": (lambda: in_second_batch(2, lambda: signal.raise_signal(signal.SIGTERM)), 130),
    "waiting": (signal_to_a_waiting_process, 0),
    "idle": (failure_of_a_process_without_work, 2),
    "undecoded": (failure_of_decoding, 2),
    "other": (another_model, 2),
}

if __name__ == "__main__":
    coding.VALUES_PER_GROUP = VALUES_PER_GROUP
    with distributed.world("cpu") as here:
        # A process can join a group only once, so the commands use the existing one.
        distributed.world = lambda *_: nullcontext(here)
        for line in Path(sys.argv[1]).read_text().splitlines():
            name, *command = shlex.split(line)
            fault, expected = FAULTS[name]
            with fault():
                status = cli.main(command)
            assert status == expected, (status, line)
        status = cli.main(["evaluate", "nowhere"])
    sys.exit(status)
