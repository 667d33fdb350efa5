"""Sampling: passes of the whole network, passes of the rows down to the pixel, and one column a pixel.
`python benchmarks/bench_sampling.py --help`"""

import argparse
import statistics
import sys
import time
from dataclasses import dataclass

import torch

import pixelrnn_ext as px
from harness.environment import environment
from harness.verdict import Verdict, verdict_table
from pixelrnn_ext import sampling
from pixelrnn_ext.benchmark.tables import grid
from pixelrnn_ext.benchmark.timing import paired_ratio, wall_seconds

NAIVE, CROPPED, INCREMENTAL, EAGER = "naive, full passes", "cropped passes", "incremental", "incremental, in PyTorch"


@dataclass(frozen=True)
class Case:
    """``images`` images of height and width ``side``; incremental sampling has to be ``faster`` times as fast as the
    naive one."""

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
    """How many values of small images are not the same by all samplers, in float64."""
    model = case.build().double()
    shape = case.shape[0], side, side
    draws = sampling.checked_draws(model, 2, shape, torch.Generator().manual_seed(0), 1.0, None, None)
    with torch.no_grad():
        images = [sampler(model, draws) for sampler in (sampling.naive, sampling.cropped, sampling.incremental)]
        images.append(sampling.incremental(case.build(backend="reference").double(), draws))
    return sum(int((image != images[0]).sum()) for image in images)


class Passes:
    """Samplers by passes take minutes: a pass of every fourth height is timed, and counted for all values of four
    rows."""

    def __init__(self, model, case: Case, crop: bool):
        colours, height, width = case.shape
        self.model, self.crop, self.height, self.values = model, crop, height, colours * width * height
        self.images = torch.randint(case.model["levels"], (case.images, *case.shape))

    def seconds(self) -> float:
        if not self.crop:
            return self.values * wall_seconds(lambda: self.model(self.images))
        heights = range(2, self.height + 1, 4)
        return self.values * statistics.mean(
            wall_seconds(lambda r=r: self.model(self.images[:, :, :r])) for r in heights
        )


def run(case: Case, options) -> tuple[list[list[str]], float]:
    """Lines of the table, and how many times as fast as the naive sampler the incremental one is."""
    model, eager = case.build(), case.build(backend="reference")
    draws = sampling.checked_draws(model, case.images, case.shape, torch.Generator().manual_seed(0), 1.0, None, None)
    clocks = {
        NAIVE: Passes(model, case, crop=False).seconds,
        CROPPED: Passes(model, case, crop=True).seconds,
        INCREMENTAL: lambda: wall_seconds(lambda: sampling.incremental(model, draws)),
        EAGER: lambda: wall_seconds(lambda: sampling.incremental(eager, draws)),
    }
    if options.full:
        clocks[NAIVE] = lambda: wall_seconds(lambda: sampling.naive(model, draws))
        clocks[CROPPED] = lambda: wall_seconds(lambda: sampling.cropped(model, draws))
    times = {name: [] for name in clocks}
    with torch.no_grad():
        for clock in [clocks[INCREMENTAL]] if options.full else clocks.values():
            clock()
        for _ in range(options.rounds):
            for name, clock in clocks.items():
                times[name].append(clock())
    pixels = case.images * case.side**2
    lines = []
    for name, seconds in times.items():
        faster, median = paired_ratio(times[NAIVE], seconds), statistics.median(seconds)
        lines.append([case.name, name, f"{median:.3f}", f"{pixels / median:.0f}", f"{faster:.1f}"])
    return lines, paired_ratio(times[NAIVE], times[INCREMENTAL])


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(description=__doc__)
    extents = parser.add_mutually_exclusive_group()
    extents.add_argument(
        "--full", action="store_true", help="really draw every value by passes, all models: many minutes"
    )
    extents.add_argument("--check", action="store_true", help="tiny images: whether everything runs, in seconds")
    extents.add_argument("--verdict", action="store_true", help="what is required, too, beside what is measured")
    parser.add_argument("--rounds", type=int, metavar="N", help="default: 3; 1 with --full or --check")
    parser.add_argument(
        "--threads", type=int, default=torch.get_num_threads(), metavar="N", help="default: %(default)s"
    )
    options = parser.parse_args(argv)
    for name, value in (("--rounds", options.rounds), ("--threads", options.threads)):
        if value is not None and value < 1:
            parser.error(f"argument {name}: expected at least 1, got {value}")
    options.rounds = options.rounds or (1 if options.full or options.check else 3)
    torch.set_num_threads(options.threads)
    cases = CASES + (OTHERS if options.full or options.check else [])
    if options.check:
        cases = [
            Case(c.name, c.images, 4, c.faster, c.model | {"hidden_channels": 8, "head_channels": 8}) for c in cases
        ]

    lines, verdicts, mismatches = [], [], []
    for case in cases:
        start = time.perf_counter()
        print(case.name, end=" ... ", file=sys.stderr, flush=True)
        if wrong := differing_values(case, min(case.side, 6)):
            mismatches.append(f"MISMATCH {case.name}: {wrong} values differ between the samplers")
            continue
        case_lines, faster = run(case, options)
        lines += case_lines
        if options.verdict:
            verdicts.append(Verdict(case.name, f"{INCREMENTAL} faster than {NAIVE}", case.faster, faster))
        print(f"{time.perf_counter() - start:.1f} s", file=sys.stderr, flush=True)
    for name, value in environment(__file__, argv, [options.threads]).items():
        print(f"{name}: {value}")
    print()
    print(grid(["model", "sampler", "median s", "pixels/s", f"faster than {NAIVE}"], lines, markdown=False))
    print()
    print(
        "Before a model was timed, all samplers drew the same small images of it in float64. "
        "Ratios are medians over rounds that time all in turn."
    )
    if not options.full:
        print(f"By passes: {Passes.__doc__} --full draws every value.")
    if verdicts:
        print(f"\n{verdict_table(verdicts, 'any processor')}")
    print(*mismatches, sep="\n")
    return 1 if mismatches else 0


if __name__ == "__main__":
    sys.exit(main())
