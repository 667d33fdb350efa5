"""Reads and writes csrc/cuda/costs.h, the table by which csrc/cuda/estimate.cpp chooses a layout: what a line costs
each resident kernel.

tests/sass_model writes it from the kernels' machine code; a GPU day overwrites what it measured. C++ includes the file
as it is.
"""

import re
from pathlib import Path
from typing import NamedTuple

from . import ROOT

PATH = ROOT / "csrc" / "cuda" / "costs.h"
ARCHITECTURES = ("sm_80", "sm_90", "sm_100", "sm_120")  # whose registers the table holds
WARPS = (1, 2, 4, 8)  # that share a scheduler: the columns of the table


class Cost(NamedTuple):
    """Cycles of a line: `line`, and for each of a warp's tiles `tile`, for each pair of those whose weights are in
    shared memory `pair`, for each of a thread's cells whose state is in shared memory `cell`."""

    line: float
    tile: float = 0
    pair: float = 0
    cell: float = 0

    def times(self, factor: float) -> "Cost":
        return Cost(*(factor * cycles for cycles in self))


class Row(NamedTuple):
    kernel: str
    registers: tuple[int, ...]  # of a thread, by ARCHITECTURES
    costs: tuple[Cost, ...]  # by WARPS


class Table(NamedTuple):
    source: str  # "a model, NVRTC 12.9.86", or "measurements on CARD": a plan says "by" it
    rows: tuple[Row, ...]

    def measured(self, card: str, cycles: dict[tuple[str, int], tuple[float, float]]) -> "Table":
        """The table of a card. `cycles`: (kernel, warps) -> cycles of a line (measured, by this table) of some layout.

        A figure is scaled by the ratio of its kernel and warps; what was not measured, by the mean ratio of its kernel,
        or of all.
        """
        ratios = {key: measured / expected for key, (measured, expected) in cycles.items()}

        def mean(values):
            values = list(values)
            return sum(values) / len(values) if values else None

        overall = mean(ratios.values()) or 1

        def ratio(kernel, warps):
            return ratios.get((kernel, warps)) or mean(r for (k, _), r in ratios.items() if k == kernel) or overall

        rows = (r._replace(costs=tuple(c.times(ratio(r.kernel, w)) for w, c in zip(WARPS, r.costs))) for r in self.rows)
        return Table(f"measurements on {card}", tuple(rows))


_HEADER = """\
// What a line costs each resident kernel, in cycles; estimate.cpp chooses by it. Written by
// benchmarks/gpu_day/cost_table.py, not by hand:
// `python tests/sass_model/table.py` models it, which is never a measurement; a GPU day measures it.
#pragma once

namespace pixelrnn::cuda {

constexpr const char kCostSource[] = "%s";

// Registers of a thread on compute capability %s; then with %s warps on a scheduler:
// {of a line, of each of a warp's tiles, of each pair of a tile in shared memory, of each of a thread's cells in
// shared memory}.
// clang-format off
constexpr KernelCost kCosts[] = {
"""
_ROW = re.compile(r'^    \{"(\w+)", \{([\d, ]+)\}, \{(.*)\}\},$', re.MULTILINE)


def text(table: Table) -> str:
    def braces(numbers):
        return "{" + ", ".join(f"{number:.0f}" for number in numbers) + "}"

    def listed(items):
        return ", ".join(map(str, items[:-1])) + f" and {items[-1]}"

    capabilities = [f"{arch[3:-1]}.{arch[-1]}" for arch in ARCHITECTURES]
    rows = [
        f'    {{"{r.kernel}", {braces(r.registers)}, {{{", ".join(map(braces, r.costs))}}}}},\n' for r in table.rows
    ]
    return (
        _HEADER % (table.source, listed(capabilities), listed(WARPS))
        + "".join(rows)
        + "};\n\n}  // namespace pixelrnn::cuda\n"
    )


def write(table: Table, path: Path = PATH) -> None:
    path.write_text(text(table))


def read(path: Path = PATH) -> Table:
    content = path.read_text()

    def numbers(piece):
        return tuple(map(int, piece.split(", ")))

    rows = tuple(
        Row(kernel, numbers(registers), tuple(Cost(*numbers(cost)) for cost in costs[1:-1].split("}, {")))
        for kernel, registers, costs in _ROW.findall(content)
    )
    return Table(re.search(r'kCostSource\[\] = "(.*)"', content)[1], rows)
