import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from .optional import need


@contextmanager
def bar(unit: str, total: int | None = None, desc: str | None = None, delay: float = 1.0, **more: Any) -> Iterator[Any]:
    """Yields a progress bar, which appears after ``delay`` seconds, and vanishes at the end.

    Only the first process of a training shows the bar, and only on a terminal.
    """
    options = dict(total=total, unit=f" {unit}", desc=desc, delay=delay, leave=False, dynamic_ncols=True)
    with need("tqdm").tqdm(**options, disable=os.environ.get("RANK", "0") != "0" or None, **more) as shown:
        yield shown


@contextmanager
def rows_bar(desc: str | None = None) -> Iterator[Callable[[int, int], None]]:
    with bar("rows", desc=desc) as shown:

        def progress(done: int, total: int) -> None:
            shown.total = total
            shown.update(done - shown.n)

        yield progress
