"""What a run of the cases says: tables, CSV, a plot."""

import argparse
import csv
from pathlib import Path

import pixelrnn_ext as px

from . import peak_memory
from .benchmark import Benchmark, Row
from .plots import grouped_bars
from .problems import BASELINE, FLOOR, Target
from .tables import grid


def table(rows: list[Row], markdown: bool) -> str:
    def number(value, form):
        return "-" if value is None else format(value, form)

    lines = []
    for row in rows:
        v = row.values()
        spread = "mismatch" if v["status"] else f"{v['p20 ms']:.2f}-{v['p80 ms']:.2f}"
        lines.append(
            [
                *(v["case"], v["dtype"], str(v["threads"]), v["mode"], v["provider"]),
                *(number(v["median ms"], ".2f"), spread),
                *(number(v[f"speed-up over {BASELINE}"], ".2f"), number(v[f"share of {FLOOR}"], ".0%")),
                *(number(v["peak MiB"], ".1f"), number(v["peak in h maps"], ".1f"), number(v["max error"], ".0e")),
            ]
        )
    header = ["case", "dtype", "threads", "mode", "provider", "median ms", "p20-p80 ms"]
    header += [f"speed-up over {BASELINE}", f"share of {FLOOR}", "peak MiB", "in h maps", "max error"]
    return grid(header, lines, markdown)


def target_table(benchmark: Benchmark, targets: list[Target], markdown: bool) -> str:
    level = px.build_config()["instruction_set"]
    lines = []
    for target in targets:
        measured, required = benchmark.measured(target), target.required(level)
        if measured is None:
            continue
        below = target.at_most is not None
        quantity = f"{target.provider} {'time over' if below else 'faster than'} {target.against}"
        met = required is not None and (measured <= required if below else measured >= required)
        bound = "none" if required is None else f"{'<=' if below else '>='} {required:.2f}"
        verdict = "-" if required is None else "met" if met else "missed"
        lines.append([str(target.case), str(target.threads), quantity, bound, f"{measured:.2f}", verdict])
    header = ["case", "threads", "float32 forward+backward", f"required ({level})", "measured", "verdict"]
    return grid(header, lines, markdown) if lines else ""


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


def plot(path: Path, rows: list[Row], title: str) -> None:
    """Median forward+backward times, one group of bars a case."""
    rows = [row for row in rows if row.mode == "forward+backward" and row.times]
    medians = {(str(r.case), r.dtype, r.threads, r.provider): r.values()["median ms"] for r in rows}
    groups = list(dict.fromkeys(key[:3] for key in medians))
    labels = [f"{case}\n{str(dtype).removeprefix('torch.')}, {threads} threads" for case, dtype, threads in groups]
    series = {r.provider: [medians.get((*group, r.provider)) for group in groups] for r in rows}
    labels = [label.replace(" B", "\nB") for label in labels]
    grouped_bars(path, labels, series, "forward+backward, median ms", title)


def report(benchmark: Benchmark, targets: list[Target], header: dict[str, str], options: argparse.Namespace) -> None:
    def text(markdown):
        facts = [f"{name}: {value}" for name, value in header.items()]
        notes = explanations() + benchmark.notes + benchmark.mismatches
        start = "- " if markdown else ""
        lists = ["\n".join(start + line for line in lines) for lines in (facts, notes)]
        tables = [table(benchmark.rows, markdown), target_table(benchmark, targets, markdown)]
        return "\n\n".join(filter(None, [lists[0], tables[0], lists[1], tables[1]])) + "\n"

    print(text(options.markdown == Path("-")), end="")
    if options.markdown and options.markdown != Path("-"):
        options.markdown.write_text(text(True))
    if options.csv:
        write_csv(options.csv, benchmark.rows)
    if options.plot:
        plot(options.plot, benchmark.rows, ", ".join(f"{k} {header[k]}" for k in ("CPU", "torch", "date")))
