"""Turns Ctrl-C into a flag, which a training reads between two steps and an animation between two frames."""

import signal
import time
from typing import Any

# Seconds within which a second signal is ignored: torchrun repeats a signal that the terminal has sent.
SAME = 1.0


class Interrupt:
    """``with Interrupt() as stop:`` makes stop() true after SIGINT or SIGTERM. A second signal acts as usual."""

    def __init__(self) -> None:
        self._asked: float | None = None
        self._before: dict[int, Any] = {}

    def __call__(self) -> bool:
        return self._asked is not None

    def __enter__(self) -> "Interrupt":
        self._before = {number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: object) -> None:
        if self._asked is None:
            self._asked = time.monotonic()
        elif time.monotonic() - self._asked > SAME:
            self.__exit__()
            signal.raise_signal(number)
