"""Program that test_several_processes.py starts by torchrun. It runs each line of a file as a command.

The first word of a line names a fault, or is "none".
"""

import itertools
import shlex
import signal
import sys
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import patch

import torch

from pixelrnn_ext import cli, sampling
from pixelrnn_ext.training import distributed


def in_second_batch(rank, fault):
    """Makes process ``rank`` fail when it draws its second batch."""
    draw, calls = sampling.Sampler.draw, itertools.count(1)

    def drawn(*args, **options):
        if torch.distributed.get_rank() == rank and next(calls) == 2:
            fault()
        return draw(*args, **options)

    return patch.object(sampling.Sampler, "draw", drawn)


def full_disk():
    raise OSError(28, "No space left on device", "the disk")


FAULTS = {
    "none": nullcontext,
    "full": lambda: in_second_batch(1, full_disk),
    "interrupted": lambda: in_second_batch(2, lambda: signal.raise_signal(signal.SIGTERM)),
}

if __name__ == "__main__":
    with distributed.world("cpu") as here:
        # A process can join a group only once, so the commands use the existing one.
        distributed.world = lambda *_: nullcontext(here)
        for line in Path(sys.argv[1]).read_text().splitlines():
            fault, *command = shlex.split(line)
            with FAULTS[fault]():
                status = cli.main(command)
            assert status == int(fault == "full") * 2 + int(fault == "interrupted") * 130, (status, line)
    sys.exit(cli.main(["evaluate", "nowhere"]))
