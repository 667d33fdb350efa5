"""Runs all tests and benchmarks that need a GPU, the most informative first, without a network.

Run the command from the root of the repository. It has three sessions of nine minutes each:

    1  compares the sampler's images with a CPU's, and measures the sampler; tests every kernel of a scan;
       times the small scans in every layout (kernel, blocks, groups of warps), and the exchange of values
       between the blocks of a cluster
    2  times the operators of a scan one by one, and runs the small and the large benchmarks
    3  runs the other tests, and some tests under compute-sanitizer

A session first builds the kernels of this checkout if other kernels are installed. It ends if the build fails. It
writes logs to DIR, and after every result it writes results.json there. The same command resumes an interrupted
session. The report is printed at the end. The option --report prints it again.

Exit status: 0 if everything ran, whatever the verdict; 1 if something failed; 2 without a GPU or with wrong arguments;
130 after Ctrl-C.
"""

import argparse
import sys
from pathlib import Path

from . import card, report
from .child import say
from .day import PARTS, SESSIONS, Budget, Day
from .results import Results
from .verdict import verdicts


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu_day", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the results, created if missing")
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--session", type=int, choices=SESSIONS, help="default: all, one after the other")
    chosen.add_argument("--report", action="store_true", help="only print the report of the results in DIR")
    chosen.add_argument("--only", metavar="PART[,PART]", help="run only these parts, and drop their earlier results")
    parser.add_argument("--list", action="store_true", help="only print the parts, and the most seconds of each")
    parser.add_argument("--minutes", type=float, default=9.0, help="of a session (default: %(default)g)")
    options = parser.parse_args(argv)
    if options.list:
        return options
    if options.out is None:
        parser.error("the following arguments are required: --out")
    if options.report:
        options.sessions = []
    elif options.only is None:
        options.sessions = [SESSIONS[options.session]] if options.session else list(SESSIONS.values())
    else:
        wanted = options.only.split(",")
        for name in wanted:
            if name not in PARTS:
                parser.error(f"argument --only: expected some of {', '.join(PARTS)}, got {name!r}")
        options.sessions = [[name for name in PARTS if name in (*wanted, "build")]]
    if not options.minutes > 0:
        parser.error(f"argument --minutes: expected more than 0, got {options.minutes:g}")
    try:
        options.out = options.out.resolve()
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"argument --out: cannot create {options.out}: {error.strerror}")
    return options


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    options = parse(argv)
    if options.list:
        for session, names in SESSIONS.items():
            for name in names:
                print(f"{session}  {name:10} {PARTS[name].max_seconds:4} s  {PARTS[name].description}")
        return 0
    try:
        results = Results(options.out)
    except ValueError as error:
        say(f"gpu_day: expected JSON in {options.out / 'results.json'}, got {error}")
        return 2
    if options.report and not results.data["environment"]:
        say(f"gpu_day: expected earlier results in {options.out / 'results.json'}, got none.")
        return 2
    day = Day(options.out, results)
    try:
        for parts in options.sessions:
            budget = Budget(60 * options.minutes - 10, parts)
            facts, config = card.probe(options.out)
            if facts["card"] is None:
                say(f"gpu_day: expected a GPU with CUDA, got none that torch {facts['torch']} can use.")
                return 2
            results.start(card.environment(facts, config, argv))
            for name in PARTS:
                if name not in results.data["parts"]:
                    results.set_part(name, "not run", "" if name in parts else "of another session")
            if not day.session(parts, budget, again=options.only is not None):
                break
    except KeyboardInterrupt:
        say("gpu_day: interrupted")
        return 130
    finally:
        if results.data["environment"]:
            if not options.report:
                results.set_verdicts(verdicts(results.select("sampling", "small", "large")))
            print(report.markdown(results))
    return 1 if day.failed or results.unsaved else 0
