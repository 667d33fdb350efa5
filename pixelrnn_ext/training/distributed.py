import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from .._sentences import reason, sentence
from ..sampling import Progress

Item = TypeVar("Item")
Result = TypeVar("Result")
TIMEOUT = 1800  # seconds


@dataclass(frozen=True)
class World:
    """The ``size`` processes of a command, of which this is number ``rank``.

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

    def map(self, work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Yields ``work(item)`` for all items in their order, like the built-in ``map``.

        Each process computes every ``size``-th item, and gets the results of all. With several processes, the results
        must be on the CPU. If an item fails, all processes raise an error after the results before this item.
        """
        if self.control is None:
            yield from map(work, items)
            return
        items = list(items)
        for start in range(0, len(items), self.size):
            results: list[Result] = []
            error: BaseException | None = None
            try:
                results = [work(item) for item in items[start : start + self.size][self.rank : self.rank + 1]]
            except (Exception, KeyboardInterrupt) as raised:
                error = raised
            for found in self._exchange(results, error):
                yield from found

    @contextmanager
    def fail_together(self) -> Iterator[None]:
        """Makes a ``with`` block fail in all processes if it fails in one of them. Others would wait for ever."""
        error = None
        try:
            yield
        except (Exception, KeyboardInterrupt) as raised:
            if self.control is None:
                raise
            error = raised
        if self.control is not None:
            list(self._exchange([], error))

    @contextmanager
    def end_together(self) -> Iterator[None]:
        """Lets all processes raise an error if this ``with`` block fails in one of them.

        The others raise it at their next exchange. A process without another exchange does not wait for any other.
        """
        try:
            yield
        except (ProcessError, AllInterrupted):
            raise
        except (Exception, KeyboardInterrupt) as error:
            if self.control is None:
                raise
            list(self._exchange([], error))

    def _exchange(self, results: list[Result], error: BaseException | None) -> Iterator[list[Result]]:
        """Yields the results of each process in turn. At the first process that failed, raises its error."""
        outcomes: list[Any] = [None] * self.size
        try:
            dist.all_gather_object(outcomes, (results, _describe(error)), group=self.control)
        except RuntimeError as lost:
            if error is not None:
                raise error from lost
            raise ProcessError("another process ended, or did not answer within --timeout seconds") from lost
        failures = {failure for _, failure in outcomes}
        for rank, (found, failure) in enumerate(outcomes):
            yield found
            if failure == _INTERRUPTED:
                raise AllInterrupted from error
            if failure is not None:
                raise ProcessError(failure if len(failures) == 1 else f"process {rank}: {failure}") from error

    def scaled(self, progress: Progress) -> Progress:
        """Returns a callback for the rows of this process, which estimates the rows of all processes."""
        return lambda done, total: progress(min(done * self.size, total), total)

    def first_then_others(self, load: Callable[[], Result]) -> Result:
        """Returns ``load()``, which the first process calls before all others, because it may download something."""
        with self.fail_together():
            loaded = load() if self.is_first else None
        return load() if loaded is None else loaded

    def barrier(self) -> None:
        if self.control is not None:
            dist.barrier(group=self.control)


_INTERRUPTED = "interrupted"


class ProcessError(ChildProcessError):
    """An error of one process, which all processes raise."""


class AllInterrupted(KeyboardInterrupt):
    """Raised in all processes after one of them was interrupted."""


def _describe(error: BaseException | None) -> str | None:
    return None if error is None else _INTERRUPTED if isinstance(error, KeyboardInterrupt) else sentence(error)


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
def world(device: str = "auto", timeout: int = TIMEOUT) -> Iterator[World]:
    """Connects the processes that torchrun has started. Without torchrun, yields a World of one process.

    A process waits at most ``timeout`` seconds for another process, and then raises an error.
    """
    chosen = choose_device(device)
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World(0, 1, chosen)
        return
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    limit = timedelta(seconds=timeout)
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo", timeout=limit)
    try:
        group = dist.new_group(backend="gloo", timeout=limit)
        assert isinstance(group, dist.ProcessGroup)
        yield World(dist.get_rank(), size, chosen, group)
    finally:
        dist.destroy_process_group()
