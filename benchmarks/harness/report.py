import argparse
import csv
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path

from pixelrnn_ext.benchmark import peak_memory
from pixelrnn_ext.benchmark.jobs import Result
from pixelrnn_ext.benchmark.report import ONLY_CPU, environment, labels, short_report, text
from pixelrnn_ext.benchmark.run import Benchmark
from pixelrnn_ext.benchmark.tables import grid, number

from .options import DEFAULT, FULL, VERDICT
from .requirements import AnyTarget, verdict_table


def command_line(script: str, argv: list[str]) -> str:
    return shlex.join(["python", f"benchmarks/{Path(script).name}", *argv])


def header(script: str, argv: list[str], threads: Iterable[int], why: str = ONLY_CPU) -> dict[str, str]:
    found = environment(command_line(script, argv), threads, why)
    jax = sys.modules.get("jax")
    return found | ({"JAX": jax.__version__} if jax else {})


def finish(
    script: str,
    argv: list[str],
    threads: Iterable[int],
    tables: list[str],
    notes: list[str],
    mismatches: list[str],
    doubts: Iterable[str] = (),
    why: str = ONLY_CPU,
) -> int:
    print(text(header(script, argv, threads, why), [*doubts], tables, [*notes, *mismatches]), end="")
    return 1 if mismatches else 0


# {beginning of a column's name: number format of the column}
FORMATS = {"median ms": ".2f", "p20 ms": ".2f", "p80 ms": ".2f", "speed-up": ".2f", "share": ".0%", "peak": ".1f"}
FORMATS |= {"max error": ".0e", "G multiply-adds/s": ".1f"}


def long_table(rows: list[dict], markdown: bool) -> str:
    def cell(name: str, value: float | str | None) -> str:
        format = next((format for start, format in FORMATS.items() if name.startswith(start)), "")
        return number(value, format)

    return grid(list(rows[0]), [[cell(*item) for item in row.items()] for row in rows], markdown, drop_empty=True)


EXPLANATIONS = [
    "Every provider's outputs and gradients were compared with the float64 reference before it was timed.",
    "Speed-ups are medians over rounds that time all providers in turn. Multiply-adds are those of the matrix "
    "products, at the median time. Peak is the most that the processor does with so many threads (harness/peak.cpp).",
    f"{peak_memory.METHOD} For a recurrence alone, gates (4), c, h and one more map of 4 make 10 h maps; the weight's "
    "gradient comes on top.",
]


def write_csv(path: Path, rows: list[dict]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def horizontal_bars(path: Path, values: dict[str, float], title: str, below: str) -> None:
    """The colours are legible on white and on black pages. An SVG file has text as text."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    grey, blue = "#808080", "#3d84d6"
    figure = Figure(figsize=(8, 1.1 + 0.36 * len(values)), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh(list(values), list(values.values()), 0.66, color=blue)
    axes.bar_label(bars, [f"{value:.1f} x" for value in values.values()], padding=4, color=grey, weight="bold")
    axes.axvline(1, color=grey, linestyle="--", linewidth=0.8)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlim(left=0)
    axes.set_title(title, color=grey, fontsize=11, loc="left")
    axes.set_xlabel(below, color=grey, fontsize=8, loc="left")
    axes.tick_params(colors=grey, left=False, bottom=False, labelbottom=False)
    axes.spines[:].set_visible(False)
    with rc_context({"svg.fonttype": "none"}):
        figure.savefig(path, dpi=150, transparent=True)


def plot(path: Path, results: list[Result], header: dict[str, str]) -> None:
    case = results[0].job.case
    speeds = {
        label: speed for label, result in zip(labels(results), results) if (speed := result.faster(case.baseline))
    }
    if not speeds:
        print(f"no picture: {case.ours} was not timed beside the {case.baseline}", file=sys.stderr)
        return
    machine = f"{header['CPU']}, threads: {header['threads']}, torch {header['torch']}, {header['date']}"
    if any(result.doubt for result in results):
        machine += " (UNRELIABLE: the machine was not quiet)"
    horizontal_bars(path, speeds, f"Times faster than the {case.baseline}: forward + backward, float32", machine)


def report(benchmark: Benchmark, targets: list[AnyTarget], header: dict[str, str], options: argparse.Namespace) -> None:
    results = benchmark.results
    rows = [result.values(provider, benchmark.peaks) for result in results for provider in result.providers]

    def rendered(markdown: bool) -> str:
        if options.scope == DEFAULT:
            return short_report(benchmark, header, markdown)
        if options.scope == VERDICT:
            verdicts = [target.verdict(benchmark) for target in targets]
            doubts, notes = [verdict.doubt for verdict in verdicts], []
            table = verdict_table(verdicts, "2 cores", markdown)
        else:
            shown = rows if options.scope == FULL else [row | {"unreliable": ""} for row in rows]
            doubts, notes = [row["unreliable"] for row in shown], EXPLANATIONS
            table = long_table(shown, markdown)
        return text(header, doubts, [table], [*notes, *benchmark.remarks()], markdown)

    print(rendered(options.markdown == Path("-")), end="")
    if options.markdown and options.markdown != Path("-"):
        options.markdown.write_text(rendered(True))
    if options.csv:
        write_csv(options.csv, rows)
    if options.plot:
        plot(options.plot, [result for result in results if result.is_training_step], header)
