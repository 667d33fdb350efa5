import gc
import importlib
import os
import re
import signal
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from .._sentences import reason, sentence
from ..sampling import Progress
from .interrupt import Interrupt

Item = TypeVar("Item")
Result = TypeVar("Result")
TIMEOUT, MAX_TIMEOUT = 1800, 10**6  # seconds


@dataclass
class World:
    """The ``size`` processes of a command, of which this is number ``rank``.

    ``control`` is a process group for tensors on the CPU. A single process has none. While a process loads data, it
    tells the others every ``alive`` seconds that it still works.
    """

    rank: int
    size: int
    device: torch.device
    control: dist.ProcessGroup | None = None
    alive: float = 5.0

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        return self.begin_sum(values)()

    def begin_sum(self, values: Tensor) -> Callable[[], Tensor]:
        """Begins to sum ``values`` over all processes in the background. Returns a function that waits for the sum.

        All processes must begin their exchanges in the same order. ``values`` on the CPU must not change meanwhile.
        """
        values = values.detach().cpu()
        if self.size == 1:
            return lambda: values
        with exchanging():
            work = dist.all_reduce(values, group=self.control, async_op=True)

        def wait() -> Tensor:
            with exchanging():
                work.wait()
            return values

        return wait

    def any(self, flag: bool) -> bool:
        """Returns whether ``flag`` is true in any process. All processes must call this method."""
        return flag if self.size == 1 else bool(self.sum(torch.tensor(int(flag))))

    def map(self, work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Yields ``work(item)`` for all items in their order, like the built-in ``map``.

        Each process computes every ``size``-th item, and gets the results of all items. With several processes, the
        results must be on the CPU. If an item fails, all processes raise an error after the results before this item.
        So the caller must iterate to the end, or it misses an error.
        """
        if self.size == 1:
            yield from map(work, items)
            return
        items, number = list(items), None
        for start in range(0, len(items), self.size):
            results: list[Result] = []
            error: BaseException | None = None
            try:
                _raise_again(number)
                results = [work(item) for item in items[start : start + self.size][self.rank : self.rank + 1]]
            except (Exception, KeyboardInterrupt) as raised:
                error = raised
            outcomes, number = self._exchange(results, error)
            for rank, found in enumerate(outcomes.results):
                yield from found
                outcomes.check(rank, error)
        _raise_again(number)

    @contextmanager
    def fail_together(self) -> Iterator[None]:
        """Makes a ``with`` block fail in all processes if it fails in one of them.

        Otherwise the other processes would wait for the one that failed.
        """
        error = None
        try:
            yield
        except (Exception, KeyboardInterrupt) as raised:
            if self.size == 1:
                raise
            error = raised
        if self.size > 1:
            self._agree(None, error)

    @contextmanager
    def end_together(self) -> Iterator[None]:
        """Makes the other processes raise an error at their next exchange if this ``with`` block fails in a process.

        Another process that needs no further exchange ends as usual.
        """
        try:
            yield
        except (ProcessError, AllInterrupted):
            raise
        except (Exception, KeyboardInterrupt) as error:
            if self.size == 1:
                raise
            self._agree(None, error)

    def check_same(self, what: str, digest: Callable[[], object]) -> None:
        """Raises an error in all processes unless ``digest()`` is the same in all."""
        if self.size == 1:
            return
        values = self._agree(digest(), None)
        others = [rank for rank, other in enumerate(values) if other != values[0]]
        if others:
            raise ProcessError(f"expected the same {what} in all processes, got another in process {others[0]}")

    def _agree(self, value: object, error: BaseException | None) -> list[Any]:
        """Returns the values of all processes, or raises the error of the first process that failed."""
        outcomes, number = self._exchange([] if error else [value], error)
        for rank in range(self.size):
            outcomes.check(rank, error)
        _raise_again(number)
        return [value for (value,) in outcomes.results]

    def _exchange(self, results: list[Any], error: BaseException | None) -> tuple["Outcomes", int | None]:
        """Returns the outcomes of all processes, and the number of a SIGINT or SIGTERM that came meanwhile, or None.

        A signal does not interrupt the exchange, because the other processes would then read bytes of the next one. The
        caller raises the signal again, where it can tell the other processes of a KeyboardInterrupt.
        """
        outcomes: list[Any] = [None] * self.size
        with Interrupt() as stop:
            try:
                dist.all_gather_object(outcomes, (results, _describe(error)), group=self.control)
            except RuntimeError as lost:
                if error is not None:
                    raise error from lost
                if stop():
                    raise AllInterrupted from lost
                raise LostProcess from lost
            return Outcomes(*zip(*outcomes)), stop.number

    def scaled(self, progress: Progress) -> Progress:
        """Returns a callback for the rows of this process, which estimates the rows of all processes."""
        return lambda done, total: progress(min(done * self.size, total), total)

    def first_then_others(self, load: Callable[[], Result]) -> Result:
        """Returns ``load()``, which the first process calls before all others, because it may download something.

        ``load()`` may take longer than the time limit of an exchange.
        """
        with self.fail_together(), self._patience():
            loaded = load() if self.is_first else None
        with self.fail_together(), self._patience():
            return load() if loaded is None else loaded

    @contextmanager
    def _patience(self) -> Iterator[None]:
        """Lets a ``with`` block of some processes take longer than the time limit, while the others wait.

        A thread of each process exchanges whether all blocks have ended, and whether a process that waits has got a
        signal, which then interrupts the blocks. Meanwhile the block must exchange nothing.
        """
        if self.size == 1:
            yield
            return
        ended, stop = threading.Event(), Interrupt()

        def exchange() -> None:
            is_told = False
            with suppress(RuntimeError, ProcessError):  # a process was killed, which the next exchange reports
                while True:
                    is_working = not ended.wait(self.alive)
                    working, interrupted = self.sum(torch.tensor([int(is_working), int(stop())]))
                    if not working:
                        return
                    if interrupted and not (is_told or ended.is_set()):
                        is_told = True
                        main = threading.main_thread().ident
                        assert main is not None
                        signal.pthread_kill(main, signal.SIGINT)  # another process, which waits, got a signal

        thread = threading.Thread(target=exchange, daemon=True)

        def finish() -> None:
            with stop:
                ended.set()
                thread.join()

        try:
            thread.start()
            yield
        finally:
            # A signal may come behind the block, before ``stop`` handles signals. ``finish`` then runs again, because
            # an exchange of the thread would mix with the exchange that tells the other processes of the
            # KeyboardInterrupt. After ``finish`` the thread sends no signal.
            try:
                finish()
            except KeyboardInterrupt:
                finish()
                raise
            _raise_again(stop.number)

    def barrier(self) -> None:
        if self.size > 1:
            with exchanging():
                dist.barrier(group=self.control)


_INTERRUPTED = "interrupted"
# torch raises a RuntimeError with a text of gloo if a connection breaks, and a DistError if one of NCCL's does.
_GLOO = re.compile(r"\bgloo/|^Gloo ")


class ProcessError(ChildProcessError):
    """An error of one process, which all processes raise."""


class LostProcess(ProcessError):
    """Raised in all other processes after one of them was killed or did not answer."""

    def __init__(self) -> None:
        super().__init__("another process ended, or did not answer within --timeout seconds")


@contextmanager
def exchanging() -> Iterator[None]:
    """Makes a ``with`` block raise LostProcess if an exchange fails in it."""
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or _GLOO.search(str(error)):
            raise LostProcess from error
        raise


class AllInterrupted(KeyboardInterrupt):
    """Raised in all processes after one of them was interrupted."""


class Outcomes(NamedTuple):
    """The results of each process, and what went wrong in it, or None."""

    results: tuple[list[Any], ...]
    failures: tuple[str | None, ...]

    def check(self, rank: int, error: BaseException | None) -> None:
        """Raises an error if process ``rank`` failed. ``error`` is the error of this process."""
        failure = self.failures[rank]
        if failure == _INTERRUPTED:
            raise AllInterrupted from error
        if failure is not None:
            raise ProcessError(failure if len({*self.failures}) == 1 else f"process {rank}: {failure}") from error


def _raise_again(number: int | None) -> None:
    if number is not None:
        signal.raise_signal(number)


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
    if timeout > MAX_TIMEOUT:
        raise ValueError(f"expected a timeout of at most {MAX_TIMEOUT} seconds, got {timeout}")
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World(0, 1, choose_device(device))
        return
    limit = timedelta(seconds=timeout)
    on_gpu = torch.cuda.is_available() and device != "cpu"
    # DistributedDataParallel imports this module. Its functions have a default argument that is the default group at
    # the time of the import. Imported later than here, they would keep this world's group for ever.
    importlib.import_module("torch.distributed.nn.functional")
    with exchanging():
        dist.init_process_group("nccl" if on_gpu else "gloo", timeout=limit)
        here = World(dist.get_rank(), size, torch.device("cpu"), alive=min(World.alive, timeout / 4))
        try:
            here.control = _new_group(limit)
            with here.fail_together():  # a device may be missing in one process only
                here.device = choose_device(device)
                if on_gpu:
                    torch.cuda.set_device(here.device)
            yield here
        except BaseException as error:
            _clear_locals(error)
            raise
        finally:
            _end_groups(here)


def _new_group(timeout: timedelta) -> dist.ProcessGroup:
    group = dist.new_group(backend="gloo", timeout=timeout)
    assert isinstance(group, dist.ProcessGroup)
    return group


def _end_groups(world: World) -> None:
    """Ends the process groups and their threads.

    A group's threads end when nothing refers to the group. A thread that still runs while Python ends may abort the
    process, because it needs Python to release the tensors of its last exchange. The end of a group waits for an
    exchange that another process has not begun, until the other process has ended the same group. So all processes end
    their groups in the same order.
    """
    try:
        if world.control is not None:
            dist.destroy_process_group(world.control)
    finally:
        world.control = None
        gc.collect()
        dist.destroy_process_group()


def _clear_locals(error: BaseException) -> None:
    """Clears the local variables of the functions that ``error`` has ended, because they may refer to a group."""
    errors = [error]
    for error in errors:  # the list grows in the loop
        traceback.clear_frames(error.__traceback__)
        errors += [cause for cause in (error.__cause__, error.__context__) if cause and cause not in errors]
