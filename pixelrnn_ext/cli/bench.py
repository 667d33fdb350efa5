import argparse
import time

from ..benchmark import device, gpu
from ..benchmark.children import Children
from ..benchmark.diagonal import CASES, GPU_CASES
from ..benchmark.jobs import SHORT, short_jobs
from ..benchmark.report import environment, short_report
from ..benchmark.run import Benchmark
from .arguments import positive

SUMMARY = "time the layers on this machine"
EXAMPLES = ("", "--markdown", '--only "B1 32x32 h128" --threads 1')


def run(options: argparse.Namespace, command: str, argv: list[str]) -> int:
    """Times a training step of the diagonal layers and of plain PyTorch, on a GPU if there is one. Checks the results.

    Takes up to a minute on a CPU, and two minutes on a GPU.
    """
    found, why = device.choose(options.device, "--threads" if options.threads else "")
    known = GPU_CASES if found == "cuda" else CASES
    if not any(options.only in str(case) for case in known):
        raise ValueError(f"expected --only to be a part of one of {', '.join(map(str, known))}, got {options.only!r}")
    if found == "cuda":
        return _run_on_gpu(options, command, why)
    cases = [case for case in CASES if options.only in str(case) and (options.only or case.in_default)]
    benchmark = Benchmark(SHORT)
    benchmark.run(short_jobs(cases, options.threads))
    header = environment(command, (result.job.threads for result in benchmark.results), why)
    print(short_report(benchmark, header, options.markdown), end="")
    return 1 if benchmark.mismatches else 0


def _run_on_gpu(options: argparse.Namespace, command: str, why: str) -> int:
    end = time.monotonic() + gpu.DEFAULT_SECONDS
    with Children() as children:
        header = gpu.header(device.gpu_facts(children), command, why)
        cases = [case for case in GPU_CASES if options.only in str(case)]
        results = gpu.run(children, gpu.rows(cases, full=False), end)
    print(gpu.report(results, header, options.markdown), end="")
    return 1 if gpu.failed(results) else 0


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="only the cases with TEXT in their name, also slow ones"
    )
    device.add_option(parser)
    parser.add_argument("--threads", type=positive, metavar="N", help="threads of the CPU, 2 by default")
    parser.add_argument("--markdown", action="store_true", help="print a Markdown table, for a bug report")
