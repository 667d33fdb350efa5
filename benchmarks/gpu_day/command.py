"""All that a GPU is needed for, in one command, what tells most first:

    build, a check of every kernel (half a minute), every layout of the small scans, microbenchmarks, the operators
    one by one, the small benchmarks, the other tests, the large benchmarks, plots, a verdict against the floors, and
    compute-sanitizer

    python -m benchmarks.gpu_day --out DIR

from the root of the repository, offline, in 9 minutes. DIR gets results.json, with everything (after every case, so
that an interrupted run loses nothing), the logs and two plots. The report is printed; --only verdict prints it again.
Exit status: 0 when everything ran, whatever the verdict; 1 when something failed; 2 without a GPU or with wrong
arguments; 130 after Ctrl-C.
"""

import argparse
import sys
from pathlib import Path

from . import card, report
from .day import Day, say
from .parts import LEAST, NEED_A_GPU, PARTS, Budget
from .results import Results
from .verdict import verdicts


class List(argparse.Action):
    """Needs no other argument, as --help."""

    def __init__(self, **options):
        super().__init__(nargs=0, **options)

    def __call__(self, parser, *_):
        for name, part in PARTS.items():
            print(f"{name:10} {part.most:4} s  {part.what}")
        parser.exit()


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu_day", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="created where it is missing")
    parser.add_argument("--only", metavar="PART[,PART]", help="these parts alone; DIR's other results are kept")
    parser.add_argument("--list", action=List, help="print the parts, and the seconds that each may take, and end")
    parser.add_argument("--minutes", type=float, default=9.0, help="for everything (default: %(default)g)")
    options = parser.parse_args(argv)
    wanted = list(PARTS) if options.only is None else options.only.split(",")
    for name in wanted:
        if name not in PARTS:
            parser.error(f"argument --only: expected some of {', '.join(PARTS)}, got {name!r}")
    options.parts = [name for name in PARTS if name in wanted]
    if not options.minutes >= LEAST:
        parser.error(f"argument --minutes: expected at least {LEAST:g}, got {options.minutes:g}")
    try:
        options.out = options.out.resolve()
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"argument --out: cannot create {options.out}: {error.strerror}")
    return options


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    options = parse(argv)
    budget = Budget(60 * options.minutes - 10, options.parts)
    try:
        results = Results(options.out, keep=options.only is not None)
    except ValueError as error:
        say(f"gpu_day: expected JSON in {options.out / 'results.json'}, got {error}")
        return 2
    if not NEED_A_GPU & set(options.parts) and not results.data["environment"]:
        say(f"gpu_day: expected earlier results in {options.out / 'results.json'}, got none.")
        return 2
    day = Day(options, budget, results)
    try:
        if NEED_A_GPU & set(options.parts):
            facts, config = card.probe(options.out)
            if facts["card"] is None:
                say(f"gpu_day: expected a GPU with CUDA, got none that torch {facts['torch']} can use.")
                return 2
            start_with(results, card.environment(facts, config, argv))
        for name in PARTS:
            if name not in results.data["parts"]:
                results.part(name, "not run", "" if name in options.parts else "--only left it out")
        for name in options.parts:
            day.run(name)
    except KeyboardInterrupt:
        say("gpu_day: interrupted")
        return 130
    finally:
        if results.data["environment"]:
            results.verdicts(verdicts(results.data["measurements"]))
            print(report.markdown(results.data))
    return 1 if day.failed or results.unsaved else 0


def start_with(results: Results, facts: dict) -> None:
    """Results of another card or source are not mixed with this run's."""
    same = ("card", "torch", "commit")
    if any(results.data["environment"].get(name) != facts[name] for name in same):
        results.clear()
    results.data["environment"] = facts
    results.save()
