import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from .._sentences import reason


@dataclass(frozen=True)
class World:
    """The ``size`` processes of a training, of which this is number ``rank``.

    ``control`` is a process group for tensors on the CPU, or None for a single process.
    """

    rank: int
    size: int
    device: torch.device
    control: dist.ProcessGroup | None = None

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        values = values.detach().cpu()
        if self.control is not None:
            dist.all_reduce(values, group=self.control)
        return values

    def any(self, flag: bool) -> bool:
        """Returns whether ``flag`` is true in any process. All processes must call this method."""
        return flag if self.control is None else bool(self.sum(torch.tensor(int(flag))))

    @contextmanager
    def fail_together(self) -> Iterator[None]:
        """Makes a ``with`` block fail in all processes if it fails in one of them.

        All other processes raise ChildProcessError, instead of waiting for ever.
        """
        done = False
        try:
            yield
            done = True
        finally:
            failed = self.any(not done)
        if failed:
            raise ChildProcessError("another process of this training failed, and says why")

    def barrier(self) -> None:
        if self.control is not None:
            dist.barrier(group=self.control)


def choose_device(name: str) -> torch.device:
    """Raises ValueError if this machine lacks the device.

    ``"auto"`` is the GPU of this process, or the CPU if there is no GPU.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda":
        name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    try:
        device = torch.device(name)
        if device.type not in ("cpu", "cuda"):
            raise ValueError(f"expected a device cpu, cuda or cuda:NUMBER, got {name!r}")
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"expected a device of this machine, got {name!r}: {reason(error)}") from error
    return device


@contextmanager
def world(device: str = "auto") -> Iterator[World]:
    """Connects the processes that torchrun has started. Without torchrun, yields a World of one process."""
    chosen = choose_device(device)
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World(0, 1, chosen)
        return
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    try:
        group = dist.new_group(backend="gloo")
        assert isinstance(group, dist.ProcessGroup)
        yield World(dist.get_rank(), size, chosen, group)
    finally:
        dist.destroy_process_group()
