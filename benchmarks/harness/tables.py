"""Aligned tables of text."""

import re


def grid(header: list[str], lines: list[list[str]], markdown: bool) -> str:
    """An aligned table: text to the left, numbers to the right."""
    columns = list(zip(header, *lines))
    widths = [max(map(len, column)) for column in columns]
    right = [all(re.match(r"[\d.<>-]", cell) for cell in column[1:]) for column in columns]

    def line(cells):
        padded = [c.rjust(w) if r else c.ljust(w) for c, w, r in zip(cells, widths, right)]
        return "| " + " | ".join(padded) + " |" if markdown else "  ".join(padded).rstrip()

    rule = ["-" * (w - 1) + (":" if r and markdown else "-") for w, r in zip(widths, right)]
    return "\n".join([line(header), line(rule), *map(line, lines)])
