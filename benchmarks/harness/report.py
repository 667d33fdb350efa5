"""What a run of the cases says: a table of its extent, CSV, a picture."""

import argparse
import csv
import sys
from pathlib import Path

from pixelrnn_ext.benchmark import peak_memory
from pixelrnn_ext.benchmark.comparison import Comparison, comparisons, labels
from pixelrnn_ext.benchmark.problems import FLOOR
from pixelrnn_ext.benchmark.report import short_report
from pixelrnn_ext.benchmark.report import text as report_text
from pixelrnn_ext.benchmark.row import Row
from pixelrnn_ext.benchmark.run import Benchmark
from pixelrnn_ext.benchmark.tables import grid, number
from pixelrnn_ext.operators import library

from .extent import DEFAULT, FULL, VERDICT
from .plots import horizontal_bars
from .target import Target
from .verdict import verdict_table


def long_table(rows: list[Row], doubts: list[str], markdown: bool) -> str:
    """A line a provider and mode."""
    lines = []
    for row, doubt in zip(rows, doubts):
        v = row.values()
        spread = "mismatch" if v["status"] else f"{v['p20 ms']:.2f}-{v['p80 ms']:.2f}"
        lines.append(
            [
                *(v["case"], v["dtype"], str(v["threads"]), v["mode"], v["provider"]),
                *(number(v["median ms"], ".2f"), spread),
                *(number(v[f"speed-up over {row.case.baseline}"], ".2f"), number(v[f"share of {FLOOR}"], ".0%")),
                *(number(v["peak MiB"], ".1f"), number(v["peak in h maps"], ".1f"), number(v["max error"], ".0e")),
                doubt,
            ]
        )
    header = ["case", "dtype", "threads", "mode", "provider", "median ms", "p20-p80 ms"]
    header += [f"speed-up over {rows[0].case.baseline}", f"share of {FLOOR}", "peak MiB", "in h maps", "max error"]
    return grid([*header, "unreliable"], lines, markdown, drop_empty=True)


def explanations() -> list[str]:
    return [
        "Every provider's outputs and gradients were compared with the float64 reference before it was timed.",
        f"Ratios are medians over rounds that time all providers in turn. {FLOOR}: the matrix products alone, one "
        "torch.mm each; with out= into existing memory. A share above 100% is faster than the floor.",
        f"{peak_memory.METHOD} For a recurrence alone, gates (4), c, h and one more map of 4 make 10 h maps; the "
        "weight's gradient comes on top.",
    ]


def write_csv(path: Path, rows: list[Row]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0].values()))
        writer.writeheader()
        writer.writerows(row.values() for row in rows)


def plot(path: Path, lines: list[Comparison], header: dict[str, str]) -> None:
    """How many times faster than the baseline ours is in each case."""
    baseline = lines[0].case.baseline
    speeds = {label: speed for label, line in zip(labels(lines), lines) if (speed := line.faster(baseline))}
    if not speeds:
        print(f"no picture: {lines[0].case.ours} was not timed beside the {baseline}", file=sys.stderr)
        return
    machine = f"{header['CPU']}, threads: {header['threads']}, torch {header['torch']}, {header['date']}"
    if any(line.doubt for line in lines):
        machine += " (UNRELIABLE: the machine was not quiet)"
    horizontal_bars(path, speeds, f"Times faster than the {baseline}: forward + backward, float32", machine)


def report(benchmark: Benchmark, targets: list[Target], header: dict[str, str], options: argparse.Namespace) -> None:
    rows, level = benchmark.rows, library.instruction_set()

    def text(markdown: bool) -> str:
        if options.extent == DEFAULT:
            return short_report(benchmark, header, markdown)
        if options.extent == VERDICT:
            verdicts = [target.verdict(rows, level) for target in targets]
            doubts, explained = [verdict.doubt for verdict in verdicts], []
            table = verdict_table(verdicts, level or "any processor", markdown)
        else:
            doubts, explained = [row.doubt if options.extent == FULL else "" for row in rows], explanations()
            table = long_table(rows, doubts, markdown)
        return report_text(benchmark, header, doubts, table, explained, markdown)

    print(text(options.markdown == Path("-")), end="")
    if options.markdown and options.markdown != Path("-"):
        options.markdown.write_text(text(True))
    if options.csv:
        write_csv(options.csv, rows)
    if options.plot:
        plot(options.plot, comparisons(rows), header)
