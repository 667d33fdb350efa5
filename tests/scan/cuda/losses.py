"""Computes how much slower scans would be if a resident kernel did not exist.

A resident kernel computes a scan in one launch. The planner estimates the times.
"""

from itertools import product
from typing import NamedTuple

from helpers.kernels import every_kernel

from .sizes import SIZES, Size

# kernel_list.h keeps a kernel if, without it, the time of some scan would grow by more than this factor.
KEEP_ABOVE = 1.05


class Slowdown(NamedTuple):
    """The scan that would slow down most without a kernel.

    ``factor`` is the time without the kernel, divided by the time with it. ``next_best`` would compute the scan
    instead.
    """

    factor: float = 1.0
    size: Size | None = None
    next_best: str = "-"


def fastest(candidates, step, without=""):
    """Returns the time of a scan in seconds, and the name of the kernel that computes it.

    Chooses like plan() of csrc/cuda/plan.cpp, but never the kernel ``without``. ``step`` is the time of the step path,
    which launches a kernel for each line.
    """
    plans = [plan for plan in candidates if plan.variant.name != without]
    fastest = min(plans, key=lambda plan: plan.cost, default=None)
    if fastest is None or fastest.seconds > step:
        return step, "step path"
    return fastest.seconds, fastest.variant.name


def slowdowns(core):
    """Returns {name of a kernel: the largest Slowdown that a scan of SIZES has without this kernel}."""
    found = {kernel.name: Slowdown() for kernel in every_kernel()}
    for size in SIZES:
        problem, card = size.problem(core), core.known_device(size.capability)
        candidates, step = core.candidates(problem, card), core.estimate_step(problem, card)
        seconds, chosen = fastest(candidates, step)
        slower, next_best = fastest(candidates, step, without=chosen)
        if chosen in found and slower > found[chosen].factor * seconds:
            found[chosen] = Slowdown(slower / seconds, size, next_best)
    return found


def indispensable_kernels(core):
    """Returns the names of all kernels that are the only resident kernel for some hidden size."""
    found = set()
    sizes = product((80, 90, 120), core.Format, (False, True), range(8, 257, 8), ((1, 4), (2, 4), (3, 4), (2, 5)))
    for capability, format, backward, hidden, (taps, gates) in sizes:
        size = Size(capability, format.name, backward, hidden, taps, 8, 16, 1, gates)
        plans = core.candidates(size.problem(core), core.known_device(capability))
        found |= {plan.variant.name for plan in plans} if len(plans) == 1 else set()
    return found


def print_table(core):
    print("| kernel | size that needs it most | next best | time without the kernel |\n|---|---|---|---|")
    for kernel, slowdown in slowdowns(core).items():
        size = " ".join(f"{name}={value}" for name, value in slowdown.size._asdict().items()) if slowdown.size else "-"
        print(f"| `{kernel}` | {size} | {slowdown.next_best} | {100 * slowdown.factor - 100:+.0f} % |")
