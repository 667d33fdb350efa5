"""Formats tables as aligned text or as Markdown."""

import re
from collections.abc import Iterable


def number(value: float | None, form: str, unit: str = "") -> str:
    return "-" if value is None else format(value, form) + unit


def grid(header: list[str], lines: list[list[str]], markdown: bool, drop_empty: bool = False) -> str:
    """Returns a table as text. ``drop_empty`` omits columns that have no value."""
    columns: list[tuple[str, ...]] = list(zip(header, *lines))
    if drop_empty:
        columns = [column for column in columns if not {*column[1:]} <= {"", "-"}]
    widths = [max(map(len, column)) for column in columns]
    right = [i > 0 and all(re.match(r"[\d.<>-]", cell) for cell in column[1:]) for i, column in enumerate(columns)]

    def line(cells: Iterable[str]) -> str:
        padded = [c.rjust(w) if r else c.ljust(w) for c, w, r in zip(cells, widths, right)]
        return "| " + " | ".join(padded) + " |" if markdown else "  ".join(padded).rstrip()

    rule = ["-" * (w - 1) + (":" if r and markdown else "-") for w, r in zip(widths, right)]
    names, *rows = zip(*columns)
    return "\n".join([line(names), line(rule), *map(line, rows)])
