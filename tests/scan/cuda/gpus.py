"""The GPUs on which the tests of this folder run: two emulated GPUs, and this machine's GPU if it has one."""

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from emulator.control import SCHEDULES, Emulator
from helpers.checks import assert_close
from helpers.gpu import why_no_gpu
from helpers.scans import OPS, OUTPUTS
from kernel_costs.kernel_list import FORMATS, variants

from . import bounds
from .kernel_paths import hidden_sizes, variant_kernels

# {GPU: the largest number of thread blocks that share an image}. 0 means no resident kernels.
MAX_BLOCKS = {"sm_80": 1, "sm_90": 8}
if why_no_gpu() is None:
    _capability = torch.cuda.get_device_capability()
    MAX_BLOCKS["real"] = 8 if _capability >= (9, 0) else 1 if _capability >= (8, 0) else 0
MARKS = {gpu: pytest.mark.cuda if gpu == "real" else pytest.mark.emulated for gpu in MAX_BLOCKS}
all_formats = pytest.mark.parametrize("format", FORMATS)


def on_gpus(names=(), cases=((),), where=lambda gpu, *case: True):
    """Parametrizes a test by each GPU and case for which ``where(gpu, *case)`` is true."""
    runs = [(gpu, *case) for gpu in MAX_BLOCKS for case in cases if where(gpu, *case)]
    parameters = [pytest.param(*run, marks=MARKS[run[0]]) for run in runs]
    ids = lambda value: f"C{value}" if isinstance(value, int) else None  # noqa: E731
    return pytest.mark.parametrize(("gpu", *names), parameters, indirect=["gpu"], ids=ids)


on_resident_gpus = on_gpus(where=lambda gpu: MAX_BLOCKS[gpu] >= 1)


def on_gpus_with_paths(*paths):
    needed = {"step": 0, "resident::2": 2}
    return on_gpus(["path"], [(path,) for path in paths], lambda gpu, path: MAX_BLOCKS[gpu] >= needed.get(path, 1))


def on_gpus_with_variants(gates, where=lambda gpu, blocks: True):
    def exists(gpu, format, suffix, blocks):
        return fits_some_size(gates, format, suffix, blocks) and blocks <= MAX_BLOCKS[gpu] and where(gpu, blocks)

    return on_gpus(["format", "suffix", "blocks"], variants(gates), exists)


def fits_some_size(gates, format, suffix, blocks):
    fewest_taps = 1 if gates == 4 else 2
    return any(hidden_sizes(kernel, blocks, fewest_taps) for kernel in variant_kernels(gates, format, suffix, blocks))


@dataclass
class Gpu:
    """An emulated GPU, or this machine's real GPU.

    Attributes:
        ops: the namespace of torch.ops with the operators that run on this GPU.
        device: the torch device of the operators' tensors, "cpu" for an emulated GPU.
        emulator: the controls of an emulated GPU, or None for the real GPU.
        worst: {(number format, group of results such as "h, c, gates"): the largest relative error so far}.
    """

    name: str
    ops: Any
    device: str
    emulator: Emulator | None = None
    worst: dict = field(default_factory=dict)

    @property
    def keys(self):
        """Returns the dispatch keys for redispatch(), which skips the checks of torch's dispatcher."""
        return torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, self.device.upper()))

    def plan(self, problem, path="auto"):
        return problem.plan(self.ops, self.name if self.emulator else "sm_0", path)

    def run(self, problem, path="auto"):
        got = problem.run(self.ops, problem.dtype, path, self.device)
        return {name: tensor.cpu() for name, tensor in got.items()}

    def bound(self, name, format):
        if self.emulator:
            return bounds.EMULATED[format] * (1 if name in ("dx", "output", *OUTPUTS) else bounds.EMULATED_SUMS)
        return (bounds.REAL_GPU if name in ("output", *OUTPUTS) else bounds.REAL_GPU_GRADIENTS)[format]

    def compare(self, problem, path="auto", expected=None):
        """Asserts that a scan's results agree with ``expected``, by default a CPU's in float64. Returns the results."""
        expected = expected or problem.run(OPS, torch.float64)
        got = self.run(problem, path)
        for name, tensor in got.items():
            assert_close(name, expected[name], tensor, self.bound(name, problem.format))
            if tensor.numel():
                error = (tensor.double() - expected[name]).norm() / expected[name].norm()
                kind = problem.format, "h, c, gates" if name in OUTPUTS else "dx" if name == "dx" else "other gradients"
                self.worst[kind] = max(self.worst.get(kind, 0.0), error.item())
        return got

    def compare_schedules(self, problem, path):
        """Asserts that results are right, with the same bits for any order of the emulator's threads."""
        expected, first = problem.run(OPS, torch.float64), None
        for seed, schedule in enumerate(SCHEDULES if self.emulator else ("one run", "another run")):
            if self.emulator:
                self.emulator.set_schedule(schedule, seed=seed, preemption=40 if schedule == "random" else 0)
            got = self.compare(problem, path, expected)
            first = first or got
            for tensor, other in zip(first.values(), got.values()):
                assert torch.equal(tensor, other), f"{schedule}: other bits than the first schedule"


REAL_GPU = Gpu("real", OPS, "cuda")
