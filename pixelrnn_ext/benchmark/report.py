"""Writes the report of a benchmark run, and the short report of ``pixelrnn bench``."""

import datetime
import os
from collections.abc import Iterable

import torch

from .._process import WAIT_VARIABLES
from ..machine import processor
from ..operators import library
from .jobs import Peaks, Result
from .run import Benchmark
from .tables import grid, number
from .timing import warning

ONLY_CPU = "this benchmark runs on a CPU alone"


def environment(command: str, threads: Iterable[int], why: str = ONLY_CPU) -> dict[str, str]:
    """Returns the facts of a run on the CPU. ``why`` says why it was not on a GPU."""
    waiting = [f"{name}={os.environ[name]}" for name in WAIT_VARIABLES if name in os.environ]
    return {
        "device": f"CPU ({why})",
        "command": command,
        "CPU": processor(),
        "torch": torch.__version__,
        "pixelrnn_ext": library.VERSION,
        "threads": ", ".join(map(str, dict.fromkeys(threads))),
        **({"threads wait by": ", ".join(waiting)} if waiting else {}),
        "instruction set": f"{library.instruction_set() or 'none'} (torch: {torch.backends.cpu.get_cpu_capability()})",
        "date": datetime.date.today().isoformat(),
    }


def text(header: dict[str, str], doubts: list[str], tables: list[str], notes: list[str], markdown: bool = False) -> str:
    """Returns the text of a report.

    Each table row has a text in ``doubts``, which says why its times are unreliable, or is empty.
    """

    def listed(facts: list[str]) -> str:
        return "\n".join(("- " if markdown else "") + fact for fact in facts)

    device, command, *machine = (f"{name}: {value}" for name, value in header.items())
    parts = listed([device, command, *filter(None, ["; ".join(machine)])]), warning(doubts), *tables, listed(notes)
    return "\n\n".join(filter(None, parts)) + "\n"


def short_report(benchmark: Benchmark, header: dict[str, str], markdown: bool) -> str:
    results = [result for result in benchmark.results if result.is_training_step]
    notes = [how_to_read(benchmark.peaks), *benchmark.remarks()]
    table = short_table(results, benchmark.peaks, markdown)
    return text(header, [result.doubt for result in results], [table], notes, markdown)


def labels(results: list[Result]) -> list[str]:
    same_threads = len({result.job.threads for result in results}) == 1
    return [str(result.job.case) if same_threads else result.job.label for result in results]


def short_table(results: list[Result], peaks: Peaks, markdown: bool) -> str:
    others = list(dict.fromkeys(name for result in results for name in result.job.case.against))

    def row(label: str, result: Result) -> dict[str, str]:
        ours = result.job.case.ours
        values = result.values(ours, peaks) if ours in result.providers else {}
        return {
            "case": label,
            "ours, ms": number(values.get("median ms"), ".1f"),
            **{f"faster than {name}": number(result.faster(name), ".1f", " x") for name in others},
            "G multiply-adds/s": number(values.get("G multiply-adds/s"), ".0f"),
            "share of peak": number(values.get("share of peak"), ".0%"),
            "peak MiB": number(values.get("peak MiB"), ".1f"),
            "error": number(values.get("max error"), ".0e"),
            "unreliable": result.doubt,
        }

    rows = list(map(row, labels(results), results))
    return grid(list(rows[0]), [list(r.values()) for r in rows], markdown, drop_empty=True)


def how_to_read(peaks: Peaks) -> str:
    peak = "peak is the most that the processor does, " if peaks else ""
    return (
        "A training step (forward + backward) in float32, ours and the others in turn: 2.0 x faster is half the time, "
        f"multiply-adds are those of the matrix products, {peak}"
        "error is RMS over RMS against float64."
    )
