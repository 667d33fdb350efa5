"""Turns Ctrl-C into a flag, which a training reads between two steps and an animation between two frames."""

import signal
import time
from typing import Any

# A second signal within this time is ignored: torchrun repeats the terminal's signals.
REPEAT_SECONDS = 1.0


class Interrupt:
    """``with Interrupt() as stop:`` makes stop() true after SIGINT or SIGTERM. A second signal acts as usual."""

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
