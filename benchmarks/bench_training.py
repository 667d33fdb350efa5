"""Training steps of the paper's models: forward, backward and optimiser, native and in PyTorch, in a process like that
of the command `pixelrnn`; GOMP_SPINCOUNT=300000 in front lets threads wait as in a script of one's own.
`python benchmarks/bench_training.py --help`"""

import statistics
import sys

from harness.process import as_the_command

if __name__ == "__main__":
    as_the_command()

import torch

import pixelrnn_ext as px
from harness.busy import busy_core
from harness.environment import environment
from harness.model_options import parse
from harness.operators import shares
from harness.verdict import Verdict, verdict_table
from pixelrnn_ext.benchmark.reliability import OtherProcesses, doubt, warning
from pixelrnn_ext.benchmark.tables import grid
from pixelrnn_ext.benchmark.timing import paired, paired_ratio
from pixelrnn_ext.training.optimiser import make as make_optimiser

NATIVE, REFERENCE = "native", "reference"
# Of the native step at batch 16 on 2 cores: how many times faster than the reference at least, and how many times as
# long at most as on a quiet machine while another process keeps a core busy.
REQUIRED = {"mnist-diagonal": (11, 2.5)}


def step(name: str, backend: str, batch: int, side: int, **overrides):
    """A function that takes one step of RMSProp (section 5.1), as the command does, and returns its loss; all backends
    have the same weights and images."""
    torch.manual_seed(0)
    model = px.from_name(name, backend=backend, **overrides)
    optimiser = make_optimiser("rmsprop", model.parameters(), 1e-3)
    images = torch.randint(model.levels, (batch, model.image_channels, side, side), dtype=torch.uint8)

    def run():
        optimiser.zero_grad(set_to_none=True)
        loss = model.bits_per_dim(images)
        loss.backward()
        optimiser.step()
        return loss.detach()

    return run


def median(times: list[float | None]) -> float:
    return statistics.median(t for t in times if t is not None)


def step_table(options, times, loaded, doubts: dict[str, str]) -> str:
    header = ["model", "backend", "median ms a step", "images/s", f"faster than {REFERENCE}"]
    lines = []
    for backend, seconds in times.items():
        quiet, faster = median(seconds), paired_ratio(times[REFERENCE], seconds)
        line = [options.model, backend, f"{1e3 * quiet:.1f}", f"{options.batch_size / quiet:.0f}", f"{faster:.1f}"]
        if loaded:
            line += [f"{1e3 * median(loaded[backend]):.1f}", f"{median(loaded[backend]) / quiet:.1f}"]
        lines.append([*line, doubts[backend]])
    header += ["ms under load", "over the quiet time"] * bool(loaded)
    return grid([*header, "unreliable"], lines, markdown=False, drop_empty=True)


def operator_table(run, calls: int) -> str:
    groups = shares(run, calls)
    whole = sum(share.seconds for share in groups.values())
    lines = [
        [name, f"{1e3 * share.seconds:.2f}", f"{share.seconds / whole:.0%}", f"{share.calls:.0f}"]
        for name, share in groups.items()
    ]
    return grid([f"{NATIVE}, under torch's profiler", "ms a step", "share", "operators"], lines, markdown=False)


def verdicts(options, times, loaded, doubts: dict[str, str]) -> str:
    faster, under_load = REQUIRED.get(options.model, (None, None)) if options.batch_size == 16 else (None, None)
    case = f"{options.model}, batch {options.batch_size}"
    doubt = ", ".join(filter(None, doubts.values()))
    return verdict_table(
        [
            Verdict(
                case,
                f"{NATIVE} faster than {REFERENCE}",
                faster,
                paired_ratio(times[REFERENCE], times[NATIVE]),
                doubt=doubt,
            ),
            Verdict(
                case,
                f"{NATIVE} under load over the quiet time",
                under_load,
                median(loaded[NATIVE]) / median(times[NATIVE]),
                at_most=True,
                doubt=doubt,
            ),
        ],
        "2 cores",
    )


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    flags = {
        "load": "time the steps also while another process keeps a core busy",
        "profile": "break the native step down by operator",
    }
    options, side, overrides = parse(argv, __doc__, "--batch-size", 16, **flags)

    def steps():
        return {b: step(options.model, b, options.batch_size, side, **overrides) for b in (NATIVE, REFERENCE)}

    losses = {backend: float(run()) for backend, run in steps().items()}
    if abs(losses[NATIVE] - losses[REFERENCE]) > 1e-5 * losses[REFERENCE]:
        print(f"MISMATCH: the first losses are {losses}")
        return 1
    runs, timing, loaded = steps(), {"seconds": 0.1, "fewest": 2} if options.check else {"seconds": 10, "limit": 60}, {}
    others = OtherProcesses()
    times = paired(runs, **timing)
    busy = others.busy()
    if options.load or options.verdict:
        with busy_core():
            loaded = paired(runs, **timing)
    doubts = {backend: "" if options.check else doubt([seconds], busy) for backend, seconds in times.items()}

    for name, value in environment(__file__, argv, [options.threads]).items():
        print(f"{name}: {value}")
    if unreliable := warning(list(doubts.values())):
        print(f"\n{unreliable}")
    print(f"\n{step_table(options, times, loaded, doubts)}\n")
    print("The first losses agreed to 1e-5. Ratios are medians over rounds that time both in turn.")
    if loaded:
        print("Under load: another process keeps a core busy. The ratio is that of the medians, both of this run.")
    if options.profile:
        print(f"\n{operator_table(runs[NATIVE], calls=1 if options.check else 10)}")
    if options.verdict:
        print(f"\n{verdicts(options, times, loaded, doubts)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
