"""Ctrl-C as a question that a training asks between two steps."""

import signal


class Interrupt:
    """``with Interrupt() as stop:`` makes stop() true after SIGINT or SIGTERM; a second one does what it did before."""

    def __init__(self):
        self._requested, self._before = False, {}

    def __call__(self) -> bool:
        return self._requested

    def __enter__(self) -> "Interrupt":
        self._before = {number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number, frame):
        self._requested = True
        self.__exit__()
