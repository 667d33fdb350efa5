"""Measures the sampler on a GPU: whether its images equal a CPU's, and the times that its planner assumes."""

import math
import time
from functools import partial
from itertools import pairwise

import torch

import pixelrnn_ext as px
from helpers.checks import RATIO
from helpers.only_steps import OnlySteps
from pixelrnn_ext import likelihood, sampling
from pixelrnn_ext.benchmark.problems import worst_error
from pixelrnn_ext.benchmark.timing import wall_seconds
from pixelrnn_ext.incremental import block
from pixelrnn_ext.incremental.block import ImageSampler
from pixelrnn_ext.incremental.drawing import Drawing
from pixelrnn_ext.incremental.rows import Rows
from pixelrnn_ext.incremental.steps import CellStep, Linear, Pointwise, Tap

from .clocks import called_seconds, sm_megahertz
from .jobs import Report, SamplingJob
from .measure import attempt
from .providers import PRECISIONS, apply_precision

WAYS = "images", "stages", "pytorch"
CPU = "a CPU"
BLOCKS = {"a block": 1, "8 blocks": 8}
# A uniform number this close to the boundary between two values may select either, because logits are rounded.
TIE = 1e-5
# The width and height, in pixels, of the images that measure the time of one operation, such as an LSTM cell. The
# network that draws these images is a chain of such operations.
WIDTH, HEIGHT = 128, 16
REPEATS = 3
# Cycles of an operation, modelled from machine code (docs/sampling.md). EXCHANGE and the rates of the L2 cache are
# assumed.
MODELLED, EXCHANGE = {"cell": 984, "linear": 648}, 225
L2_BYTES_OF_CYCLE, L2_BYTES_OF_SECOND = 64, 5.5e12


def measure(job: SamplingJob, known: set[str], report: Report, device: str = "cuda") -> None:
    apply_precision(PRECISIONS[job.precision])
    function, variants = QUANTITIES[job.quantity]
    for n in (images or multiprocessors() for images in job.images):
        for variant in variants:
            name = f"{variant}, {n} image{'s' * (n > 1)}"
            if name not in known:
                with attempt(name, report, device), torch.no_grad():
                    facts = function(job, device, variant, n)
                    report(name, facts.pop("status", "ok"), **facts)


def multiprocessors() -> int:
    return torch.cuda.get_device_properties(0).multi_processor_count


def build(name: str, device: str):
    torch.manual_seed(0)
    return (px.pretrained if name in px.models.PRETRAINED else px.from_name)(name).to(device)


def draws_of(model, job, n: int, rows: int = 0) -> sampling.Draws:
    shape = model.image_channels, rows or job.height, job.width
    return sampling.checked_draws(model, n, shape, torch.Generator().manual_seed(0), 1.0, None, None)


def require(way: str, plan: sampling.SamplingPlan) -> None:
    if plan.way != way:
        raise RuntimeError(f"cannot run: {'; '.join(plan.why_not) or plan}")


def same_images(job, device, way, n) -> dict:
    """Compares the images and logits that the sampler computes on a GPU with a CPU's logits.

    ``way`` names how the sampler runs on the GPU (see WAYS). A drawn value is right if the CPU's logits of the same
    image select the same value. If the uniform number is close to the boundary between two values, both values are
    right.
    """
    cpu, gpu = build(job.case, "cpu"), build(job.case, device)
    draws = draws_of(cpu, job, n)
    got = sampling.incremental(gpu, draws_of(gpu, job, n), ways=(way,), on_plan=partial(require, way))
    logits = sampling.logit_map(gpu, got, ways=(way,)).cpu()
    got, bound = got.cpu(), RATIO[PRECISIONS[job.precision].dtype]
    expected = sampling.logit_map(cpu, got)
    error, _ = worst_error({"logits": logits}, {"logits": expected})
    by_level = expected.unflatten(1, (got.shape[1], -1)).movedim(2, -1)
    least, most = (likelihood.draw(by_level, (draws.uniform + tie).clamp(0, 1), 1.0) for tie in (-TIE, TIE))
    wrong = int(((got < least) | (got > most)).sum())
    differing = int((got != sampling.incremental(cpu, draws)).sum())
    note = f"{wrong} of {got.numel()} values wrong, {differing} differ from a CPU's images; error at most {bound:g}"
    status = "ok" if error <= bound and not wrong else "mismatch"
    return {"status": status, "measured": error, "unit": "error of the logits", "wrong": wrong, "note": note}


def chain(kind: str, hidden: int, length: int, n: int, blocks: int, device: str) -> ImageSampler:
    """Returns a sampler of a chain of ``length`` operations, each of which reads the output of the one before.

    An operation is either an LSTM cell with two inputs, or a linear map that is followed by two pointwise operations.
    docs/sampling.md models the cycles of the same operations.
    """
    rows = Rows(n, WIDTH, 1, torch.float32, torch.device(device))
    steps, x = [], rows.buffer(hidden).normal_()
    for _ in range(length):
        output, y, z = (rows.buffer(hidden) for _ in range(3))
        if kind == "cell":
            # The weights of two LSTM cells with many hidden units must fit in the shared memory of one thread block.
            # Each cell therefore reads at most 32 channels of each of its two inputs.
            channels = min(hidden, 32)
            weights = torch.randn(2, channels, 4 * hidden, device=device) / hidden
            taps = [Tap(x, 0, channels, weights[0]), Tap(z, -1, channels, weights[1])]
            steps.append(CellStep(taps, rows.buffer(4 * hidden), y, -1, y, z, x, output, 0, hidden))
        else:
            taps = [Tap(x, 0, hidden, torch.randn(hidden, hidden, device=device) / hidden)]
            steps.append(Linear(taps, rows.buffer(hidden), y, 0, hidden, False))
            steps += [Pointwise(y, x, z, 0, hidden, True), Pointwise(z, None, output, 0, hidden, True)]
        x = output
    sampler = ImageSampler(OnlySteps(rows, [], steps[:-1]), steps[-1:], HEIGHT, blocks)
    if sampler.why_not is not None:
        raise RuntimeError(f"cannot run: {sampler.why_not}")
    return sampler


def chain_seconds(sampler: ImageSampler, n: int, device: str) -> float:
    maps = torch.zeros(n, 0, HEIGHT, WIDTH, dtype=torch.float64, device=device)
    return _seconds(lambda: list(sampler.draw(maps, maps.bool(), maps.long(), None)))


def _seconds(function) -> float:
    function()
    return min(called_seconds(function, 1) for _ in range(REPEATS))


def _step_seconds(job, device, blocks, n) -> float:
    kind, hidden = job.case.split(" h")
    length = 4 if int(hidden) <= 16 else 1
    few, many = (chain(kind, int(hidden), times * length, n, blocks, device) for times in (1, 2))
    return (chain_seconds(many, n, device) - chain_seconds(few, n, device)) / (length * WIDTH * HEIGHT)


def step_cycles(job, device, team, n) -> dict:
    cycles = _cycles_of_second() * _step_seconds(job, device, BLOCKS[team], n)
    expected = MODELLED[job.case.split()[0]] + EXCHANGE * (BLOCKS[team] > 1)
    return {"measured": cycles, "unit": "cycles a step", "expected": expected}


def _cycles_of_second() -> float:
    return 1e6 * (sm_megahertz() or math.nan)


def clusters(job, device, team, n) -> dict:
    one, several = (chain_seconds(chain("linear", 16, 8, k, BLOCKS[team], device), k, device) for k in (1, n))
    waves = -(-n // (multiprocessors() // BLOCKS[team]))
    return {"measured": several / one, "unit": "times one image", "expected": waves}


def weights(job, device, team, n) -> dict:
    size = torch.float32.itemsize * int(job.case.split(" h")[1]) ** 2 * n
    speed = size / _step_seconds(job, device, BLOCKS[team], n)
    expected = min(n * BLOCKS[team] * L2_BYTES_OF_CYCLE * _cycles_of_second(), L2_BYTES_OF_SECOND)
    return {"measured": speed / 1e9, "unit": "GB/s", "expected": expected / 1e9}


def batches(job, device, way, n) -> dict:
    plans, on_cpu = [], way == CPU
    model, way = build(job.case, "cpu" if on_cpu else device), "rows" if on_cpu else way
    draw = partial(sampling.incremental, model, ways=(way,), on_plan=plans.append)
    draw(draws_of(model, job, n, rows=2))  # loads the kernels
    require(way, plans[0])
    draws, clock = draws_of(model, job, n), wall_seconds if on_cpu else partial(called_seconds, calls=1)
    seconds = min(clock(lambda: draw(draws)) for _ in range(2))
    return {"measured": 1e3 * seconds, "unit": "ms", "note": str(plans[-1])}


def launches(job, device, way, n) -> dict:
    """Measures the longest time between two calls of ``progress``. The result's note has the time of a pixel."""
    model = build(job.case, device)
    draws, stamps = draws_of(model, job, n), [time.perf_counter()]
    progress = lambda *rows: stamps.append(time.perf_counter())  # noqa: E731
    drawing = Drawing(model, draws.values.shape, None, draws.temperature, [way])
    require(way, drawing.plan)
    drawing.draw(draws, None, progress)
    block.wait(draws.values.device)  # the last launch may still run
    progress()
    seconds, sampler = _seconds(lambda: drawing.draw(draws, None)), drawing.runner
    longest = max(after - before for before, after in pairwise(stamps))
    expected = sampler.team.seconds * job.width * min(job.height, sampler.rows_per_launch)
    one, estimate = 1e6 * seconds / (job.width * job.height), 1e6 * sampler.team.seconds
    note = f"a pixel takes {one:.1f} us, the planner expects {estimate:.1f} us"
    return {"measured": 1e3 * longest, "unit": "ms", "expected": 1e3 * expected, "note": note}


QUANTITIES = {
    "same images": (same_images, WAYS),
    "rounds": (step_cycles, ["a block"]),
    "exchanges": (step_cycles, ["8 blocks"]),
    "clusters": (clusters, ["8 blocks"]),
    "weights": (weights, ["8 blocks"]),
    "batches": (batches, (*WAYS, CPU)),
    "launches": (launches, ["images"]),
}
