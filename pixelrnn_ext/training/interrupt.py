"""Turns Ctrl-C into a flag. A training reads the flag between two steps, an animation between two frames."""

import signal
import threading
import time
from typing import Any

SIGNALS = signal.SIGINT, signal.SIGTERM
# A second signal is ignored for this number of seconds after the first signal, because under torchrun a process gets
# each Ctrl-C twice.
REPEAT_SECONDS = 1.0


def is_main_thread() -> bool:
    """Returns whether this thread can set handlers of signals."""
    return threading.current_thread() is threading.main_thread()


def ignore_signals() -> None:
    """Ignores SIGINT and SIGTERM from now on, where the work is done and only its resources are released."""
    if is_main_thread():
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)


class Interrupt:
    """Within ``with Interrupt() as stop:``, the first SIGINT or SIGTERM only makes ``stop()`` return True.

    A second signal acts as it would without this block.
    """

    def __init__(self) -> None:
        self.number: int | None = None  # of the first signal
        self._first_signal: float | None = None
        self._before: dict[int, Any] = {}

    def __call__(self) -> bool:
        return self._first_signal is not None

    def __enter__(self) -> "Interrupt":
        self._before = {number: signal.signal(number, self._handle) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: object) -> None:
        if self._first_signal is None:
            self.number, self._first_signal = number, time.monotonic()
        elif time.monotonic() - self._first_signal > REPEAT_SECONDS:
            self.__exit__()
            signal.raise_signal(number)
