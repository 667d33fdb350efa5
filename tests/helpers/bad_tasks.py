"""Tasks that fail on purpose. They have a module of their own, which child processes can import."""

import ctypes
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import partial

from pixelrnn_ext.benchmark import gpu
from pixelrnn_ext.benchmark.children import CANNOT_RUN, WRONG, Ended
from pixelrnn_ext.benchmark.problems import BASELINE, Differentiable, Problem, Size
from pixelrnn_ext.benchmark.products import Products


def misbehave(how):
    """Fails as the name ``how`` says. Any other name does nothing."""
    if how == "print":
        print("printed by an earlier task", flush=True)
    if how == "hang":
        time.sleep(60)
    if how == "crash":
        ctypes.string_at(0)
    if how == "abort":
        print("what(): CUDA error: an illegal memory access was encountered", file=sys.stderr, flush=True)
        os.abort()
    if how == "raise":
        raise RuntimeError("CUDA error: broken\nin many words")
    if how == "wrong":
        raise Ended(WRONG, "error 1e+00 in output")
    if how == "too large":
        raise Ended(CANNOT_RUN, "too large")
    if how == "refuse":
        raise RuntimeError("the resident path cannot run: too wide")


@dataclass(frozen=True)
class Task:
    """Reports the process's number, and then misbehaves."""

    how: str
    seconds: float = 30.0

    def __str__(self):
        return self.how

    def measure(self, report):
        report(process=os.getpid(), self_check=os.environ.get("PIXELRNN_SELF_CHECK"))
        if self.how == "orphan":
            report(started=subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]).pid)
            time.sleep(60)
        misbehave(self.how)


def square(how, x):
    """Returns the square of x, or misbehaves. ``lie`` returns a wrong value."""
    misbehave(how)
    return x * x * (1.5 if how == "lie" else 1)


def build(size, precision):
    """Returns the implementations of a square. ``step`` lies, ``resident`` aborts and ``auto`` is right."""
    dtype = gpu.PRECISIONS[precision].dtype
    x, dy = size.map(size.hidden, dtype), size.map(size.hidden, dtype)
    hows = {BASELINE: "", gpu.AUTO: "", gpu.STEP: "lie", gpu.RESIDENT: "abort"}

    def provider(name, how, x, dy):
        return Differentiable(name, partial(square, how), [x], dy, ["x"])

    exact = provider("exact", "", x.double(), dy.double())
    return Problem([provider(name, how, x, dy) for name, how in hows.items()], exact.results, Products(1, 1, 1))


CASE = gpu.GpuCase("square", Size(2, 3, 4, 5), build, (BASELINE, gpu.STEP, gpu.RESIDENT, gpu.AUTO), gpu.Scans(True, 2))
