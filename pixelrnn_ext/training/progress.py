"""Bars on standard error for what takes longer than a moment."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from .optional import need


@contextmanager
def bar(unit: str, total: int | None = None, what: str | None = None, delay: float = 1.0, **more: Any) -> Iterator[Any]:
    """A bar of tqdm with an estimate of the time left, after ``delay`` seconds; it is gone at the end.

    None is shown where standard error is no terminal, nor by any but the first process of a training.
    """
    hidden = None if os.environ.get("RANK", "0") == "0" else True  # None: tqdm asks whether it is a terminal
    options = dict(total=total, unit=f" {unit}", desc=what, delay=delay, leave=False, dynamic_ncols=True)
    with need("tqdm").tqdm(**options, disable=hidden, **more) as shown:
        yield shown


def follow(shown: Any) -> Callable[[int, int], None]:
    """What sets a bar to (done, total), as ``model.sample`` and drawing.draw report them."""

    def progress(done: int, total: int) -> None:
        shown.total = total
        shown.update(done - shown.n)

    return progress
