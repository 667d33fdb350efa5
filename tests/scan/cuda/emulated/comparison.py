"""Compares emulated kernels with the CPU operators in float64."""

import torch

from emulator.control import SCHEDULES
from helpers.checks import assert_close
from helpers.scans import REFERENCE

# RMS of the error over RMS, of the maps: y, h, c, gates, dx and dinput.
RATIO = {"fp64": 1e-14, "fp32": 1e-6, "tf32": 5e-4, "bf16": 5e-3, "fp16": 1e-3}
# The gradients of weights and states are sums over maps that are rounded already, and partly cancel.
SUM_FACTOR = 2
KINDS = {**dict.fromkeys(("y", "h", "c", "gates"), "h, c, gates"), "dx": "dx"}
SUMS = "dweight_hh, dh0, dc0"

MAPS = [(1, 1, 1), (2, 1, 6), (2, 7, 1), (3, 9, 3), (5, 3, 9), (1, 17, 5), (1, 4, 34)]

worst = {}  # (format, kind): the largest error ratio of the test


def compare(problem, ops, path, expected=None):
    """Runs the emulated operators on `path` and compares; returns what they gave."""
    expected = expected or problem.run(REFERENCE, torch.float64)
    got = problem.run(ops, problem.dtype, path)
    for name, tensor in got.items():
        kind = KINDS.get(name, SUMS)
        assert_close(name, expected[name], tensor, RATIO[problem.format] * (SUM_FACTOR if kind == SUMS else 1))
        if tensor.numel():
            error = (tensor.double() - expected[name]).norm() / expected[name].norm()
            worst[problem.format, kind] = max(worst.get((problem.format, kind), 0.0), error.item())
    return got


def compare_schedules(problem, emulated, path):
    """Right in every schedule of threads, with the same bits."""
    expected = problem.run(REFERENCE, torch.float64)
    first = None
    for seed, schedule in enumerate(SCHEDULES):
        emulated.emulator.schedule(schedule, seed=seed, preemption=40 if schedule == "random" else 0)
        got = compare(problem, emulated.ops, path, expected)
        first = first or got
        for tensor, other in zip(first.values(), got.values()):
            assert torch.equal(tensor, other), f"{schedule}: other bits than the first schedule"
