"""Times training steps (forward, backward, optimiser) of the paper's models, with native kernels, in JAX and in
PyTorch. Idle OpenMP threads sleep after 1000 spins, as in the command `pixelrnn`. GOMP_SPINCOUNT=300000 restores GNU
OpenMP's default."""

import sys

from harness.alone import configure_like_command

if __name__ == "__main__":
    configure_like_command()

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

import pixelrnn_ext as px
from harness import on_gpu
from harness.busy import busy_core
from harness.compiled import COMPILE_SECONDS, compile_blocks, why_not_compiled
from harness.in_jax import JAX, training_step, why_no_jax
from harness.options import CHECK, VERDICT, build_model, parse_model_options, random_images
from harness.report import finish
from harness.requirements import Verdict, verdict_table
from pixelrnn_ext.benchmark import gpu
from pixelrnn_ext.benchmark.tables import grid
from pixelrnn_ext.benchmark.timing import Times, paired, wall_seconds
from pixelrnn_ext.training.optimiser import make as make_optimiser

NATIVE, COMPILED, REFERENCE = "native", "reference, compiled", "reference"
LEARNING_RATE, STEPS_COMPARED = 1e-3, 4
# REQUIRED has two limits for (model, images in a batch) on 2 cores. The first limit is the least speed-up of our
# training step over a step in PyTorch. The second limit is the largest factor by which our step may become slower while
# another process keeps a core busy.
REQUIRED = {("mnist-diagonal", 16): (11, 2.5)}


def step(model: px.models.AutoregressiveModel, images: torch.Tensor):
    """RMSProp is the optimiser of section 5.1 of the paper."""
    optimiser = make_optimiser("rmsprop", model.parameters(), LEARNING_RATE)

    def run():
        optimiser.zero_grad(set_to_none=True)
        loss = model.bits_per_dim(images)
        loss.backward()
        optimiser.step()
        return loss.detach()

    return run


@dataclass(frozen=True)
class OnGpu:
    """The training steps of a model on a GPU, as a case of a report."""

    model: str
    images: int
    is_tiny: bool
    ours: tuple[str, ...] = gpu.OURS
    optional: tuple[str, ...] = (gpu.RESIDENT,)
    baseline: str = REFERENCE

    def __str__(self) -> str:
        return f"{self.model}, batch {self.images}"

    def measure(self, row: gpu.Row, report: gpu.Report) -> None:
        """Compares the first losses with those of the reference in float64 before a step is timed."""
        tolerance = gpu.apply_precision(row.precision).tolerance
        images = random_images(self.model, self.is_tiny, self.images).to(row.device)

        def make(provider: str, dtype: torch.dtype) -> Callable[[], Any]:
            backend = REFERENCE if provider == COMPILED else provider
            model = build_model(self.model, self.is_tiny, backend=backend).to(row.device, dtype)
            return step(compile_blocks(model) if provider == COMPILED else model, images)

        run = make(row.provider, torch.float32)
        found, exact = (torch.tensor(losses(r)) for r in (run, make(REFERENCE, torch.float64)))
        report(error=gpu.check({"the losses": found}, {"the losses": exact}, tolerance))
        on_gpu = row.device != "cpu"
        if on_gpu:
            report(peak_mib=gpu.peak_mib(run))
        report(called=gpu.times(run, gpu.called_seconds if on_gpu else wall_seconds))


HOW_ON_GPU = (
    f"A training step (forward, backward, optimiser) as called, between CUDA events. The losses of the first "
    f"{STEPS_COMPARED} steps were compared with the reference in float64 before. Each row runs in a child process.",
)


def gpu_rows(options, device: str = "cuda") -> list[gpu.Row]:
    case = OnGpu(options.model, options.images, options.scope == CHECK)
    names = [REFERENCE, gpu.AUTO, gpu.STEP, gpu.RESIDENT]
    rows = [gpu.Row(case, precision, name, device) for precision in ("float32", "tf32") for name in names]
    if options.compiled:
        rows += [gpu.Row(case, "float32", COMPILED, device, COMPILE_SECONDS)]
    return rows


def losses(run: Callable[[], Any]) -> list[float]:
    """Returns the losses of the first steps. All but the first depend on the optimiser."""
    return [float(run()) for _ in range(STEPS_COMPARED)]


def mismatches(found: dict[str, list[float]]) -> list[str]:
    expected = torch.tensor(found[REFERENCE])
    return [
        f"MISMATCH: expected the losses {found[REFERENCE]} of {REFERENCE}, got {got} of {name}"
        for name, got in found.items()
        if not torch.allclose(torch.tensor(got), expected, rtol=1e-5, atol=0)
    ]


def rivals(options, build, images: torch.Tensor) -> tuple[dict[str, Callable[[], Any]], list[str]]:
    """Returns the steps of other compilers, and a note for each that is left out."""
    reasons, steps = {JAX: why_no_jax()}, {JAX: lambda: training_step(build(), images, LEARNING_RATE)}
    if not options.model.startswith("mnist-"):
        reasons[JAX] = "harness/jax_training.py has the models of MNIST alone"
    if options.compiled:
        reasons[COMPILED] = why_not_compiled()
        steps[COMPILED] = lambda: step(compile_blocks(build(backend=REFERENCE)), images)
    notes = [f"Left out: {name} ({reason})." for name, reason in reasons.items() if reason]
    return {name: make() for name, make in steps.items() if not reasons[name]}, notes


def step_table(options, times: Times, loaded: Times, doubts: dict[str, str]) -> str:
    header = ["model", "backend", "median ms a step", "images/s", f"time over {NATIVE}"]
    lines = []
    for backend in times:
        quiet = times.median(backend)
        line = [options.model, backend, f"{1e3 * quiet:.1f}", f"{options.images / quiet:.0f}"]
        line.append(f"{times.ratio(backend, NATIVE):.1f}")
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
        "compiled": f"time {REFERENCE} under torch.compile, too, which takes minutes to compile",
        "load": "time the steps also while another process keeps a core busy",
        "profile": "break the native step down by operator",
    }
    options, build, images = parse_model_options(argv, __doc__, "--batch-size", 16, has_gpu=True, **flags)
    only_cpu = {"--load": options.load, "--profile": options.profile, "--verdict": options.scope == VERDICT}
    device, why = on_gpu.choose(options, only_cpu)
    if device == "cuda":
        return on_gpu.main(__file__, argv, options, gpu_rows(options), why, HOW_ON_GPU)
    check = options.scope == CHECK
    others, notes = rivals(options, build, images)
    runs = {name: step(build(backend=name), images) for name in (NATIVE, REFERENCE)}
    runs = {NATIVE: runs[NATIVE], **others, REFERENCE: runs[REFERENCE]}
    if wrong := mismatches({name: losses(run) for name, run in runs.items()}):
        print(*wrong, sep="\n")
        return 1
    timing, loaded = {"seconds": 0.1, "fewest": 2} if check else {"seconds": 10, "limit": 60}, Times()
    times = paired(runs, **timing)
    if options.load or options.scope == VERDICT:
        with busy_core():
            loaded = paired(runs, **timing)
    doubts = {backend: "" if check else times.doubt(backend) for backend in times}

    tables = [step_table(options, times, loaded, doubts)]
    agreed = f"The losses of the first {STEPS_COMPARED} steps agreed to 1e-5."
    notes = [f"{agreed} Ratios are medians over rounds that time both in turn.", *notes]
    if loaded:
        notes.append(
            "Under load: another process keeps a core busy. The ratio is that of the medians, both of this run."
        )
    if options.profile:
        tables.append(operator_table(runs[NATIVE], calls=1 if check else 10))
    if options.scope == VERDICT:
        tables.append(verdicts(options, times, loaded))
    return finish(__file__, argv, [options.threads], tables, notes, [], doubts.values(), why)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
