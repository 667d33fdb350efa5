"""Times a function of which the result is wanted, too."""

import time
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


def timed(function: Callable[[], Result]) -> tuple[Result, float]:
    """What it returns, and seconds."""
    start = time.perf_counter()
    result = function()
    return result, time.perf_counter() - start
