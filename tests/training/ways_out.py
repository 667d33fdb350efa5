"""Program that the tests start in two processes. It runs trainings, from which process 0 vanishes at several places.

A process prints a line for each place: the place, the exit status, and how many threads of process groups still ran
when the training left its processes' world.
"""

import os
import sys
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import torch.distributed as dist

from pixelrnn_ext import cli
from pixelrnn_ext.training import distributed, loop, stopping

TRAINING = "train --data digits --model row --hidden-channels 3 --num-layers 1 --head-channels 4 --steps 1 --samples 0"
STATUS = 7
PLACES = {
    "nowhere": (loop.Training, "_without_exchange"),
    "gradients": (loop.Training, "_step"),
    "sum": (stopping.AgreedStop, "_begin_exchange"),
    "agreement": (distributed.World, "_agree"),
    "barrier": (distributed.World, "barrier"),
}


def vanish(*_):
    raise KeyboardInterrupt


def group_threads():
    return sum("gloo" in (task / "comm").read_text() for task in Path("/proc/self/task").iterdir())


@contextmanager
def watched(*options):
    try:
        with world(*options) as here:
            assert group_threads()
            cycle = [here.control]  # as in an error that refers to its own traceback
            cycle.append(cycle)
            del cycle
            yield here
    finally:
        left.append(group_threads())


def run(place, *training):
    """Runs a training in processes that meet in a part of the store that is only for ``place``."""
    store = dist.TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False)
    options = dict(store=dist.PrefixStore(place, store), rank=rank, world_size=2)
    begin = dist.init_process_group
    with patch.object(dist, "init_process_group", lambda backend, timeout: begin(backend, timeout=timeout, **options)):
        status = cli.main([*TRAINING.split(), "--device", "cpu", "--out", place, *training])
    print(place, status, left.pop())


if __name__ == "__main__":
    rank = int(os.environ["RANK"])
    world, left = distributed.world, []
    distributed.world = watched
    stopping.SECONDS = 0  # an exchange for each step
    run("data", "--data", "folder:nowhere")
    for place, (owner, name) in PLACES.items():
        with patch.object(owner, name, vanish if rank == 0 and place != "nowhere" else getattr(owner, name)):
            run(place)
    sys.exit(STATUS)
