"""Turns Ctrl-C into a flag. A training reads the flag between two steps, an animation between two frames."""

import signal
import time
from typing import Any

# Interrupt ignores a second signal within this many seconds. Under torchrun, a process gets each Ctrl-C twice: from the
# terminal and from torchrun.
REPEAT_SECONDS = 1.0


class Interrupt:
    """Within ``with Interrupt() as stop:``, the first SIGINT or SIGTERM only makes ``stop()`` return True.

    A second signal acts as it would without this block. For example, it ends the process.
    """

    def __init__(self) -> None:
        self._first_signal: float | None = None
        self._before: dict[int, Any] = {}

    def __call__(self) -> bool:
        return self._first_signal is not None

    def __enter__(self) -> "Interrupt":
        self._before = {number: signal.signal(number, self._handle) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: object) -> None:
        if self._first_signal is None:
            self._first_signal = time.monotonic()
        elif time.monotonic() - self._first_signal > REPEAT_SECONDS:
            self.__exit__()
            signal.raise_signal(number)
