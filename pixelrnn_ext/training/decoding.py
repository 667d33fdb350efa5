"""Decodes records, such as image files, in order and in several processes."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from torch import Generator
from torch.utils.data import DataLoader, Dataset

Record = TypeVar("Record")
CHUNK = 64  # records that a process decodes before it returns them


class _Chunks(Dataset):
    """Chunks of decoded records. A chunk that cannot be decoded is its error, because DataLoader rewrites errors."""

    def __init__(self, count: int, decode: Callable[[range], list[Any]]) -> None:
        self._count, self._decode = count, decode

    def __len__(self) -> int:
        return len(range(0, self._count, CHUNK))

    def __getitem__(self, number: int) -> list[Any] | Exception:
        try:
            return self._decode(range(number * CHUNK, min((number + 1) * CHUNK, self._count)))
        except Exception as error:
            return error


def _begin_worker(number: int) -> None:
    """Leaves Ctrl-C and SIGTERM to the process that reads the chunks, and ends this process with that one.

    DataLoader's own worker waits for ever if a killed process has left a full pipe.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _unchanged(chunk: Any) -> Any:
    return chunk


def decoded(count: int, decode: Callable[[range], list[Record]], workers: int = 0) -> Iterator[Record]:
    """Yields the records 0 to ``count`` - 1 in order.

    ``decode(range)`` returns a list of some records. It runs in ``workers`` processes, or in this process if
    ``workers`` is 0. Processes other than this one need records that pickle well: numpy arrays, no tensors.

    Example:
        >>> list(decoded(3, lambda numbers: [10 * number for number in numbers]))
        [0, 10, 20]
    """
    # DataLoader forks this process, which may have threads of torch and of a process group. A fork copies none of these
    # threads, so a lock that one of them holds would stay locked in a worker. But a worker only decodes by Pillow,
    # numpy and pyarrow, and seeds torch's generator, which no other thread uses meanwhile.
    # DataLoader draws a seed for its workers. Without a generator of its own, it would change torch's random state.
    options: dict[str, Any] = dict(collate_fn=_unchanged, generator=Generator(), worker_init_fn=_begin_worker)
    try:
        for chunk in DataLoader(_Chunks(count, decode), None, num_workers=workers, **options):
            if isinstance(chunk, Exception):
                raise chunk
            yield from chunk
    except RuntimeError as error:
        if workers and "DataLoader worker" in str(error):
            why = "perhaps for lack of memory: --workers sets their number"
            raise ChildProcessError(f"one of {workers} processes that decode images was killed, {why}") from error
        raise
