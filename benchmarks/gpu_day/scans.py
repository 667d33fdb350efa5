"""Measures the time of a scan in all its layouts (kernel, blocks, groups of warps), and of the scan's operators."""

import math
from functools import partial

import torch

from helpers.kernels import kernels
from pixelrnn_ext.operators.scan.arguments import OPERANDS, Gradients
from pixelrnn_ext.operators.scan.arguments import Scan as Arguments
from pixelrnn_ext.operators.scan.gpu import neighbour_states
from pixelrnn_ext.operators.scan.products import weight_gradients

from .clocks import DeviceClock, called_seconds, kernel_microseconds, sm_megahertz
from .jobs import Report, ScanJob
from .measure import attempt
from .providers import GRAPH, PRECISIONS, apply_precision, capture_graph

MAX_GROUPS = 8
HOPELESS_RATIO = 3


class Scan:
    """A job's tensors and operators.

    A ``path`` is "step" (a kernel for each line), "auto" (the planner's choice), or a layout.
    """

    def __init__(self, job: ScanJob, device: str = "cuda", ops=None):
        apply_precision(PRECISIONS[job.precision])
        self.ops = torch.ops.pixelrnn_ext if ops is None else ops
        self.job, self.tf32 = job, PRECISIONS[job.precision].tf32
        dtype, (batch, height, width, hidden) = PRECISIONS[job.precision].dtype, job.size
        torch.manual_seed(0)
        with torch.device(device):
            self.x = torch.randn(job.directions, batch, height, width, 4 * hidden, dtype=dtype)
            self.weight_hh = torch.randn(job.directions, 2, hidden, 4, hidden, dtype=dtype) / (2 * hidden) ** 0.5
            self.dh = torch.randn(batch, height, width, job.directions, hidden, dtype=dtype)

    def arguments(self, path: str) -> Arguments:
        operands = None, None, None, self.x, self.weight_hh, None, None, None
        options = None, list(range(self.job.directions)), True, 1, "pixelrnn", "none", path, self.tf32
        return Arguments(*operands, *options)

    def forward(self, path: str):
        return self.ops.recurrence(*self.arguments(path))

    def backward(self, path: str, c, gates):
        return self.ops.recurrence_backward(self.dh, c, gates, *self.arguments(path))

    def weight_gradient(self, dx, h, c, gates):
        wanted = [name == "weight_hh" for name in OPERANDS]
        gradients = Gradients(self.dh, h, c, gates, wanted, False, self.arguments("auto"))
        return weight_gradients(gradients, dx, 1, partial(neighbour_states, self.ops))["weight_hh"]

    def plan(self, path: str) -> str:
        batch, height, width, hidden = self.job.size
        sizes = self.job.directions, batch, height, width, hidden, 2, True
        return self.ops.describe_current_plan(*sizes, self.job.precision, path)[bool(self.job.backward)]

    def layouts(self) -> dict[str, str]:
        """Returns {path: plan's text} for each layout that fits the GPU.

        The path "resident:2_1_256:1:4" names the kernel, the blocks of a cluster, and the groups of warps.
        """
        found = {}
        for kernel in kernels():
            if (kernel.format, kernel.backward) == (self.job.precision, self.job.backward):
                for blocks in kernel.blocks:
                    for groups in range(1, MAX_GROUPS + 1):
                        path = f"resident:{kernel.suffix}:{blocks}:{groups}"
                        plan = self.plan(path)
                        if plan.startswith(f"{kernel.name}:") and plan not in found.values():
                            found[path] = plan
        return found


def measure_layouts(job: ScanJob, known: set[str], report: Report, device="cuda", ops=None) -> None:
    """Reports the times of each layout and of "step" (a kernel for each line).

    "error" is the relative difference from "step". A layout with too large an error is not timed.
    """
    scan = Scan(job, device, ops)
    chosen = scan.plan("auto")
    layouts = scan.layouts() | {"step": chosen if chosen.startswith("step path") else "step path"}
    h, c, gates = scan.forward("step")
    expected = scan.backward("step", c, gates)[0] if job.backward else h
    best, bound = math.inf, PRECISIONS[job.precision].tolerance
    for path in sorted(layouts, key=lambda path: layouts[path] != chosen):
        if path in known:
            continue
        run = partial(scan.backward, path, c, gates) if job.backward else partial(scan.forward, path)
        with attempt(path, report, device):
            error = ((run()[0] - expected).abs().max().float() / expected.abs().max().float()).item()
            result = {"plan": layouts[path], "chosen": layouts[path] == chosen, "error": error}
            if error <= bound:
                result |= _times(run, device, best)
                report(path, "ok", **result)
                best = min(best, result.get("call_us", math.inf))
            else:
                note = f"differs from the step path by {error:.1e}, allowed {bound:.0e}"
                report(path, "mismatch", note, **result)


def measure_operators(job: ScanJob, known: set[str], report: Report, device="cuda", ops=None) -> None:
    """Reports two times of each operator in microseconds.

    "call_us" is the time of a call, including the time that the CPU needs for the launches. "device_us" is the time of
    the GPU alone. "times" is {kernel: [number of launches, microseconds]}.
    """
    scan = Scan(job, device, ops)
    h, c, gates = scan.forward("step")
    dx = scan.backward("step", c, gates)[0]
    functions = {
        "forward": lambda: scan.forward("auto"),
        "backward": lambda: scan.backward("auto", c, gates),
        "weight gradient": lambda: scan.weight_gradient(dx, h, c, gates),
        "step forward": lambda: scan.forward("step"),
        "step backward": lambda: scan.backward("step", c, gates),
    }
    for name in [*functions, *(f"{name}{GRAPH}" for name in functions if device == "cuda")]:
        if name not in known:
            with attempt(name, report, device):
                function = functions[name.removesuffix(GRAPH)]
                if name.endswith(GRAPH):
                    function = capture_graph(lambda function=function: function)
                function()
                report(name, "ok", **_times(function, device))


def _times(function, device, best=math.inf) -> dict:
    """Times a warmed-up function, with only one call if that takes far longer than ``best`` microseconds."""
    if device != "cuda":
        return {}
    once = 1e6 * called_seconds(function, 1)
    if once > HOPELESS_RATIO * best:
        return {"call_us": once, "note": f"more than {HOPELESS_RATIO} times the best: called once"}
    clock = DeviceClock(calls=5)
    device_us = 1e6 * min(clock(function) for _ in range(3))
    return {
        "call_us": 1e6 * min(called_seconds(function, 5) for _ in range(3)),
        "device_us": None if function in clock.bounds else device_us,
        "times": kernel_microseconds(function),
        "mhz": sm_megahertz(),
    }
