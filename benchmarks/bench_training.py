"""Times training steps (forward, backward, optimiser) of the paper's models, with native kernels and in PyTorch. Idle
OpenMP threads sleep after 1000 spins, as in the command `pixelrnn`. GOMP_SPINCOUNT=300000 restores GNU OpenMP's
default."""

import sys

from harness.alone import configure_like_command

if __name__ == "__main__":
    configure_like_command()

import torch
from torch.profiler import ProfilerActivity, profile

import pixelrnn_ext as px
from harness.busy import busy_core
from harness.options import CHECK, VERDICT, parse_model_options
from harness.report import finish
from harness.requirements import Verdict, verdict_table
from pixelrnn_ext.benchmark.tables import grid
from pixelrnn_ext.benchmark.timing import Times, paired
from pixelrnn_ext.training.optimiser import make as make_optimiser

NATIVE, REFERENCE = "native", "reference"
# REQUIRED has two limits for (model, images in a batch) on 2 cores. The first limit is the least speed-up of our
# training step over a step in PyTorch. The second limit is the largest factor by which our step may become slower while
# another process keeps a core busy.
REQUIRED = {("mnist-diagonal", 16): (11, 2.5)}


def step(model: px.models.AutoregressiveModel, images: torch.Tensor):
    """RMSProp is the optimiser of section 5.1 of the paper."""
    optimiser = make_optimiser("rmsprop", model.parameters(), 1e-3)

    def run():
        optimiser.zero_grad(set_to_none=True)
        loss = model.bits_per_dim(images)
        loss.backward()
        optimiser.step()
        return loss.detach()

    return run


def step_table(options, times: Times, loaded: Times, doubts: dict[str, str]) -> str:
    header = ["model", "backend", "median ms a step", "images/s", f"faster than {REFERENCE}"]
    lines = []
    for backend in times:
        quiet, faster = times.median(backend), times.ratio(REFERENCE, backend)
        line = [options.model, backend, f"{1e3 * quiet:.1f}", f"{options.images / quiet:.0f}", f"{faster:.1f}"]
        if loaded:
            line += [f"{1e3 * loaded.median(backend):.1f}", f"{loaded.median(backend) / quiet:.1f}"]
        lines.append([*line, doubts[backend]])
    header += ["ms under load", "over the quiet time"] * bool(loaded)
    return grid([*header, "unreliable"], lines, markdown=False, drop_empty=True)


def operator_table(run, calls: int) -> str:
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for _ in range(calls):
            run()
    return profiler.key_averages().table(sort_by="self_cpu_time_total", row_limit=30, header=f"{NATIVE}, {calls} steps")


def verdicts(options, times: Times, loaded: Times) -> str:
    faster, under_load = REQUIRED.get((options.model, options.images), (None, None))
    case, over = f"{options.model}, batch {options.images}", loaded.median(NATIVE) / times.median(NATIVE)
    doubt, ratio = times.doubt(*times), times.ratio(REFERENCE, NATIVE)
    found = [
        Verdict(case, f"{NATIVE} faster than {REFERENCE}", faster, ratio, doubt=doubt),
        Verdict(case, f"{NATIVE} under load over the quiet time", under_load, over, at_most=True, doubt=doubt),
    ]
    return verdict_table(found, "2 cores")


def main(argv: list[str]) -> int:
    flags = {
        "load": "time the steps also while another process keeps a core busy",
        "profile": "break the native step down by operator",
    }
    options, build, images = parse_model_options(argv, __doc__, "--batch-size", 16, **flags)
    check = options.scope == CHECK

    def steps():
        return {backend: step(build(backend=backend), images) for backend in (NATIVE, REFERENCE)}

    losses = {backend: float(run()) for backend, run in steps().items()}
    if abs(losses[NATIVE] - losses[REFERENCE]) > 1e-5 * losses[REFERENCE]:
        print(f"MISMATCH: the first losses are {losses}")
        return 1
    runs, timing, loaded = steps(), {"seconds": 0.1, "fewest": 2} if check else {"seconds": 10, "limit": 60}, Times()
    times = paired(runs, **timing)
    if options.load or options.scope == VERDICT:
        with busy_core():
            loaded = paired(runs, **timing)
    doubts = {backend: "" if check else times.doubt(backend) for backend in times}

    tables = [step_table(options, times, loaded, doubts)]
    notes = ["The first losses agreed to 1e-5. Ratios are medians over rounds that time both in turn."]
    if loaded:
        notes.append(
            "Under load: another process keeps a core busy. The ratio is that of the medians, both of this run."
        )
    if options.profile:
        tables.append(operator_table(runs[NATIVE], calls=1 if check else 10))
    if options.scope == VERDICT:
        tables.append(verdicts(options, times, loaded))
    return finish(__file__, argv, [options.threads], tables, notes, [], doubts.values())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
