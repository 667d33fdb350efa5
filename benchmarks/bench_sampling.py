"""Times three samplers, which draw the values of an image one after the other. For each value, the naive sampler runs
the network on the whole image. The cropped sampler runs it on the image's rows down to the pixel's row. The incremental
sampler computes only the features of the pixel."""

import math
import statistics
import sys
from dataclasses import dataclass, replace

import torch

import pixelrnn_ext as px
from harness import on_gpu
from harness.options import CHECK, FULL, VERDICT, make_parser
from harness.report import finish
from harness.requirements import Verdict, verdict_table
from pixelrnn_ext import likelihood, sampling
from pixelrnn_ext.benchmark import device as devices
from pixelrnn_ext.benchmark import gpu
from pixelrnn_ext.benchmark.children import CANNOT_RUN, WRONG, Ended
from pixelrnn_ext.benchmark.tables import grid
from pixelrnn_ext.benchmark.timing import Times, progress, wall_seconds

NAIVE, CROPPED, INCREMENTAL, EAGER = "naive, full passes", "cropped passes", "incremental", "incremental, in PyTorch"


@dataclass(frozen=True)
class Case:
    """A model, and the images to draw with it.

    ``faster`` is the least speed-up of the incremental sampler over the naive one.
    """

    name: str
    images: int
    side: int
    faster: float
    model: dict

    def build(self, **overrides):
        torch.manual_seed(0)
        return px.models.from_config(self.model | overrides).eval()

    @property
    def shape(self):
        return self.model["image_channels"], self.side, self.side


_RGB = dict(model="PixelRNN", image_channels=3, levels=256, num_layers=3, hidden_channels=64, head_channels=1024)
CASES = [
    Case("MNIST diagonal, 7 layers h16, 16 images 28x28", 16, 28, 30, px.models.CONFIGURATIONS["mnist-diagonal"]),
    Case("RGB diagonal, 3 layers h64, 1 image 32x32", 1, 32, 80, _RGB | {"layer": "diagonal"}),
]
OTHERS = [
    Case("RGB Row LSTM, 3 layers h64, 1 image 32x32", 1, 32, 0, _RGB | {"layer": "row"}),
    Case("RGB PixelCNN, 3 layers h64, 1 image 32x32", 1, 32, 0, _RGB | {"model": "PixelCNN"}),
]


def differing_values(case: Case, side: int) -> int:
    """Uses float64 and the same random numbers for all samplers."""
    model = case.build().double()
    shape = case.shape[0], side, side
    draws = sampling.checked_draws(model, 2, shape, torch.Generator().manual_seed(0), 1.0, None, None)
    with torch.no_grad():
        images = [sampler(model, draws) for sampler in (sampling.naive, sampling.cropped, sampling.incremental)]
        images.append(sampling.incremental(case.build(backend="reference").double(), draws))
    return sum(int((image != images[0]).sum()) for image in images)


# A uniform number this close to the boundary between two values may select either, because logits are rounded.
TIE = 1e-5


def wrong_values(cpu, draws: sampling.Draws, images: torch.Tensor) -> tuple[torch.Tensor, int]:
    """Returns the logits of drawn images by a model on a CPU in float64, and how many values they do not select.

    If a value's uniform number is close to the boundary between two values, both values are right.
    """
    logits = sampling.logit_map(cpu, images)
    by_level = logits.unflatten(1, (images.shape[1], -1)).movedim(2, -1)
    least, most = (likelihood.draw(by_level, (draws.uniform + tie).clamp(0, 1), 1.0) for tie in (-TIE, TIE))
    return logits, int(((images < least) | (images > most)).sum())


@dataclass(frozen=True)
class OnGpu:
    """The samplers of a model on a GPU, as a case of a report. A sampler is a way of SamplingPlan, or passes."""

    case: Case
    ours: tuple[str, ...] = (gpu.AUTO, "images", "stages")
    optional: tuple[str, ...] = ("images", "stages")
    baseline: str = NAIVE

    def __str__(self) -> str:
        return self.case.name

    def measure(self, row: gpu.Row, report: gpu.Report) -> None:
        """Compares a sampler's small images with the logits of a CPU in float64 before it draws large ones."""
        gpu.apply_precision(row.precision)
        model, cpu, plans = self.case.build().to(row.device), self.case.build().double(), []
        ways = sampling.WAYS if row.provider == gpu.AUTO else (row.provider,)

        def draw(n: int, shape: tuple[int, int, int]) -> torch.Tensor:
            draws = sampling.checked_draws(model, n, shape, torch.Generator().manual_seed(0), 1.0, None, None)
            if row.provider == NAIVE:
                return sampling.naive(model, draws)
            return sampling.incremental(model, draws, ways=ways, on_plan=check_plan)

        def check_plan(plan: sampling.SamplingPlan) -> None:
            if row.provider not in (gpu.AUTO, plan.way):
                raise Ended(CANNOT_RUN, "; ".join(plan.why_not) or str(plan))
            plans.append(plan)

        with torch.no_grad():
            small = self.case.shape[0], min(self.case.side, 6), min(self.case.side, 6)
            got = draw(2, small).cpu()
            draws = sampling.checked_draws(cpu, 2, small, torch.Generator().manual_seed(0), 1.0, None, None)
            if wrong := wrong_values(cpu, draws, got)[1]:
                raise Ended(WRONG, f"{wrong} of {got.numel()} values are wrong")
            draw(self.case.images, self.case.shape)
            clock = wall_seconds if row.device == "cpu" else gpu.called_seconds
            milliseconds = 1e3 * clock(lambda: draw(self.case.images, self.case.shape))
        report(called=[milliseconds] * 3)
        if plans:
            report(note=str(plans[-1]))


HOW_ON_GPU = (
    "One drawing as called, between CUDA events, after another one. Before it, small images were compared with the "
    "logits of a CPU in float64. Each row runs in a child process. ours, auto is the way that the plan chose.",
)


def gpu_rows(cases: list[Case], full: bool, device: str = "cuda") -> list[gpu.Row]:
    names = [gpu.AUTO, "images", "stages", "pytorch", *[NAIVE] * full]
    return [gpu.Row(OnGpu(case), "float32", name, device, seconds=300.0) for case in cases for name in names]


def passes(model, case: Case, heights) -> float:
    """Estimates a sampler's seconds as the number of values, times the mean time of the network on the upper n rows.

    The mean is over n in ``heights``.
    """
    images = torch.randint(case.model["levels"], (case.images, *case.shape))
    pass_seconds = statistics.mean(wall_seconds(lambda r=r: model(images[:, :, :r])) for r in heights)
    return math.prod(case.shape) * pass_seconds


def run(case: Case, options) -> tuple[list[list[str]], float]:
    model, eager = case.build(), case.build(backend="reference")
    draws = sampling.checked_draws(model, case.images, case.shape, torch.Generator().manual_seed(0), 1.0, None, None)
    full = options.scope == FULL
    clocks = {
        NAIVE: lambda: passes(model, case, [case.side]),
        CROPPED: lambda: passes(model, case, range(2, case.side + 1, 4)),
        INCREMENTAL: lambda: wall_seconds(lambda: sampling.incremental(model, draws)),
        EAGER: lambda: wall_seconds(lambda: sampling.incremental(eager, draws)),
    }
    if full:
        clocks[NAIVE] = lambda: wall_seconds(lambda: sampling.naive(model, draws))
        clocks[CROPPED] = lambda: wall_seconds(lambda: sampling.cropped(model, draws))
    times = Times({name: [] for name in clocks})
    with torch.no_grad():
        for clock in [clocks[INCREMENTAL]] if full else clocks.values():
            clock()
        for _ in range(1 if options.scope in (FULL, CHECK) else 3):
            for name, clock in clocks.items():
                times[name].append(clock())
    pixels = case.images * case.side**2
    lines = []
    for name in times:
        faster, median = times.ratio(NAIVE, name), times.median(name)
        lines.append([case.name, name, f"{median:.3f}", f"{pixels / median:.0f}", f"{faster:.1f}"])
    return lines, times.ratio(NAIVE, INCREMENTAL)


def main(argv: list[str]) -> int:
    full = "draw every value by passes, of all models: many minutes"
    parser = make_parser(__doc__, full, default=torch.get_num_threads(), help="default: %(default)s")
    devices.add_option(parser)
    options = parser.parse_args(argv)
    device, why = on_gpu.choose(options, {"--verdict": options.scope == VERDICT})
    torch.set_num_threads(options.threads)
    px.keep_freed_memory()
    cases = CASES + (OTHERS if options.scope in (FULL, CHECK) else [])
    if options.scope == CHECK:
        tiny = {"hidden_channels": 8, "head_channels": 8}
        cases = [replace(case, side=4, model=case.model | tiny) for case in cases]
    if device == "cuda":
        return on_gpu.main(__file__, argv, options, gpu_rows(cases, options.scope == FULL), why, HOW_ON_GPU)

    lines, verdicts, mismatches = [], [], []
    for case in cases:
        with progress(case.name):
            if wrong := differing_values(case, min(case.side, 6)):
                mismatches.append(f"MISMATCH {case.name}: {wrong} values differ between the samplers")
                continue
            case_lines, faster = run(case, options)
        lines += case_lines
        verdicts.append(Verdict(case.name, f"{INCREMENTAL} faster than {NAIVE}", case.faster, faster))
    header = ["model", "sampler", "median s", "pixels/s", f"faster than {NAIVE}"]
    tables = [grid(header, lines, markdown=False)]
    if options.scope == VERDICT:
        tables.append(verdict_table(verdicts, "any processor"))
    notes = ["Before a model was timed, all samplers drew the same small images of it in float64."]
    notes.append("Ratios are medians over rounds that time all in turn.")
    if options.scope != FULL:
        notes.append(
            "By passes: a pass of every fourth height is timed, and counted for all values of four rows; --full draws "
            "every value."
        )
    return finish(__file__, argv, [options.threads], tables, notes, mismatches, why=why)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
