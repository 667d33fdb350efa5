import time
from collections.abc import Callable

import torch

from .distributed import World

# The seconds between two exchanges of the processes' flags. A signal ends a training within two exchanges.
SECONDS = 0.5
MAX_STEPS = 1000


class AgreedStop:
    """Says before each step whether ``stop()`` has been true in any process. All processes get the same answer.

    A single process calls ``stop()`` before each step. Several processes exchange flags about every ``SECONDS``. The
    exchange runs while the processes compute steps, and all processes read its result before the same later step.
    """

    def __init__(self, stop: Callable[[], bool], world: World) -> None:
        self._stop, self._world = stop, world
        self._begin, self._steps, self._done = time.monotonic(), 1, 0
        self._exchange: Callable[[], torch.Tensor] | None = None

    def __call__(self, at_once: bool = False) -> bool:
        """Returns whether to stop before the next step. All processes must call this method before each step.

        With ``at_once``, the answer counts signals until now, and no exchange is left pending.
        """
        world = self._world
        if world.size == 1:
            return self._stop()
        if self._exchange and self._done < self._steps and not at_once:
            self._done += 1
            return False
        stops = self._end_exchange()
        if at_once:
            return stops or world.any(self._stop())
        if not stops:
            self._begin_exchange()
        return stops

    def _begin_exchange(self) -> None:
        now = time.monotonic()
        values = torch.tensor([float(self._stop()), (now - self._begin) / max(self._done, 1)], dtype=torch.float64)
        self._exchange, self._begin, self._done = self._world.begin_sum(values), now, 1

    def _end_exchange(self) -> bool:
        """Waits for the exchange that is pending, and chooses the number of steps until the next exchange.

        This number must be the same in all processes, so it depends on the mean of their times of a step.
        """
        if self._exchange is None:
            return False
        exchange, self._exchange = self._exchange, None
        stops, seconds = exchange().tolist()
        self._steps = min(max(int(SECONDS * self._world.size / max(seconds, 1e-9)), 1), MAX_STEPS)
        return stops > 0
