"""The benchmark cases, and the implementations to compare."""

import re
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch

import bench_row
from harness import lstm2d
from harness.compiled import compile_loop
from pixelrnn_ext.benchmark import diagonal, problems
from pixelrnn_ext.benchmark.problems import BASELINE, LSTM, NATIVE, Case, Differentiable, Problem, Size

from .gemm_floor import GemmFloor
from .jobs import BENCHMARKS

STEP, RESIDENT, COMPILED = "step", "resident", f"{BASELINE}, compiled"
GRAPH = ", CUDA graph"
BACKENDS = (NATIVE, STEP, RESIDENT)


class Precision(NamedTuple):
    dtype: torch.dtype
    tf32: bool
    # This is the largest allowed RMS error of h and of each gradient, relative to the RMS of the exact values.
    tolerance: float


# Tolerances are loose, because the loops in PyTorch store even the cell state in 16 bits.
PRECISIONS = {
    "fp32": Precision(torch.float32, False, 1e-5),
    "tf32": Precision(torch.float32, True, 1e-2),
    "bf16": Precision(torch.bfloat16, False, 1e-1),
    "fp16": Precision(torch.float16, False, 2e-2),
}


def apply_precision(precision: Precision) -> None:
    """Switches tf32 in torch's matrix products and in cuDNN, whose defaults differ."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision.tf32


def _recurrence(build, is_diagonal, size, precision) -> Problem:
    natives = {path: problems.native_recurrence(is_diagonal, path, precision.tf32) for path in (STEP, RESIDENT)}
    return build(size, precision.dtype, natives=natives)


OTHER_WORK = (lstm2d.FOUR_GATES, lstm2d.ONE_DIRECTION, lstm2d.PADDED)


def _layer(build, size, precision) -> Problem:
    return build(size, precision.dtype, backends=BACKENDS)


BUILDS = {
    "diagonal": partial(_recurrence, diagonal.recurrence, True),
    "row k=3": partial(_recurrence, partial(bench_row.recurrence, taps=3), False),
    "DiagonalBiLSTM layer": partial(_layer, diagonal.layer),
    "RowLSTM layer k=1": partial(_layer, bench_row.layer),
    **{
        variant.kind: partial(_layer, partial(lstm2d.layer, **variant._asdict()))
        for variant in set(lstm2d.VARIANTS.values())
    },
}


def parse_case(name: str) -> Case:
    kind, *sizes = re.fullmatch(r"(.+) B(\d+) (\d+)x(\d+) h(\d+)", name).groups()
    return Case(kind, Size(*map(int, sizes)), BUILDS[kind])


CASES = {job.case: parse_case(job.case) for job in BENCHMARKS}


def capture_graph(start: Callable[[], Callable[[], object]]) -> Callable[[], object]:
    """Captures a function in a CUDA graph. Returns a function that replays the graph and returns its outputs.

    ``start`` returns the function to capture. If that function is a backward pass, ``start`` runs the forward pass.
    ``start`` is called on the stream of the capture, because torch runs a backward pass on the stream of its forward
    pass.
    """
    graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        run = start()
        for _ in range(3):
            run()
    torch.cuda.synchronize()
    with torch.cuda.graph(graph, stream=stream):
        outputs = run()

    def replay():
        graph.replay()
        return outputs

    return replay


class Graphed:
    """Replays another implementation's steps as CUDA graphs."""

    def __init__(self, provider: Differentiable):
        self.name, self._provider = provider.name + GRAPH, provider

    def step(self, mode: str):
        # torch runs a backward on its forward's stream, so the forward must run on the captured stream, too.
        return capture_graph(lambda: self._provider.step(mode))

    def results(self) -> dict[str, torch.Tensor]:
        return self._provider.named(self.step("forward+backward")())


def select_providers(problem: Problem, with_compiled: bool = False, device: str = "cuda") -> list:
    """Returns the implementations to time.

    If ``with_compiled``, the implementations are only the loop in PyTorch, plain and compiled by torch.compile.
    """
    by_name = {p.name: p for p in problem.providers}
    if with_compiled:
        return [by_name[BASELINE], compile_loop(by_name[BASELINE])]
    chosen = [by_name[name] for name in (BASELINE, LSTM, *BACKENDS, *OTHER_WORK) if name in by_name]
    chosen.append(GemmFloor(problem.products, by_name[BASELINE].cotangent.dtype))
    if device == "cuda":
        chosen += [Graphed(by_name[name]) for name in (BASELINE, STEP) if name in by_name]
    return chosen
