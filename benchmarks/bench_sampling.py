"""Times three samplers, which draw the values of an image one after the other. For each value, the naive sampler runs
the network on the whole image. The cropped sampler runs it on the image's rows down to the pixel's row. The incremental
sampler computes only the features of the pixel."""

import math
import statistics
import sys
from dataclasses import dataclass, replace

import torch

import pixelrnn_ext as px
from harness.options import CHECK, FULL, VERDICT, make_parser
from harness.report import finish
from harness.requirements import Verdict, verdict_table
from pixelrnn_ext import sampling
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
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    px.keep_freed_memory()
    cases = CASES + (OTHERS if options.scope in (FULL, CHECK) else [])
    if options.scope == CHECK:
        tiny = {"hidden_channels": 8, "head_channels": 8}
        cases = [replace(case, side=4, model=case.model | tiny) for case in cases]

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
    return finish(__file__, argv, [options.threads], tables, notes, mismatches)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
