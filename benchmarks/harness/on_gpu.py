"""Runs the benchmarks on a GPU: the command line's options, child processes, and the reports."""

import argparse
import math
import sys
import time
from dataclasses import replace

from pixelrnn_ext.benchmark import device, gpu
from pixelrnn_ext.benchmark.children import OK, Children
from pixelrnn_ext.benchmark.problems import BASELINE

from .compiled import COMPILE_SECONDS, compiled_name, with_compiled_loop
from .options import CHECK, DEFAULT, FULL
from .report import command_line, horizontal_bars, write_csv


def choose(options: argparse.Namespace, only_cpu: dict[str, bool]) -> tuple[str, str]:
    """Returns the device, and why it was chosen. Ends the program if it cannot be used.

    ``only_cpu`` says of each option that only a CPU has whether it was given.
    """
    try:
        return device.choose(options.device, ", ".join(name for name, is_given in only_cpu.items() if is_given))
    except ValueError as error:
        raise SystemExit(_status_2(error)) from None


def _status_2(error: Exception) -> int:
    print(error, file=sys.stderr)
    return 2


def main(
    script: str, argv: list[str], options: argparse.Namespace, rows: list[gpu.Row], why: str, notes=gpu.HOW
) -> int:
    """Measures rows on a GPU, and prints their report. Returns the exit status: 1 if one of ours failed."""
    all_rows = options.scope == FULL or getattr(options, "compiled", False)
    end = math.inf if all_rows else time.monotonic() + gpu.DEFAULT_SECONDS
    with Children() as children:
        try:
            facts = device.gpu_facts(children)
        except ValueError as error:
            return _status_2(error)
        header = gpu.header(facts, command_line(script, argv), why)
        results = gpu.run(children, rows, end)
    otherwise = " without --full" if options.scope == DEFAULT else ""
    is_markdown = str(getattr(options, "markdown", None)) == "-"
    print(gpu.report(results, header, is_markdown, notes, otherwise), end="")
    if getattr(options, "markdown", None) and not is_markdown:
        options.markdown.write_text(gpu.report(results, header, True, notes, otherwise))
    if getattr(options, "csv", None):
        write_csv(options.csv, [gpu.values(results, row) for row in results])
    if getattr(options, "plot", None):
        plot(options, results, header)
    return 1 if gpu.failed(results) else 0


def plot(options: argparse.Namespace, results: gpu.Results, header: dict[str, str]) -> None:
    """Draws how much faster the planner's choice is than the good loop, as called."""
    speeds = {
        f"{row.case}, {row.precision}": speed
        for row in results
        if row.provider == gpu.AUTO and results[row]["status"] == OK and (speed := gpu.speed_up(results, row))
    }
    if speeds:
        title = f"Times faster than the {BASELINE}: forward + backward, as called"
        horizontal_bars(options.plot, speeds, title, f"{header['device']}, {header['date']}")


def layer_rows(cases: list[gpu.GpuCase], options: argparse.Namespace) -> list[gpu.Row]:
    """Returns the rows of layers and recurrences that the options select."""
    if options.scope == CHECK:
        cases = list({case.kind: replace(case, size=case.size.tiny()) for case in cases}.values())
    cases = [case for case in cases if (options.only or "") in str(case)]
    rows = gpu.rows(cases, full=options.scope in (FULL, CHECK))
    if options.compiled or options.scope == FULL:
        # The compiled loops come last, since each takes minutes to compile.
        compiled = [with_compiled_loop(case) for case in cases]
        rows += [
            gpu.Row(case, precision, compiled_name(BASELINE), seconds=COMPILE_SECONDS)
            for precision in gpu.PRECISIONS
            for case in compiled
        ]
    return rows
