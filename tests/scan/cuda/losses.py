"""Estimates how much slower scans would be if a resident kernel did not exist."""

from itertools import product
from typing import NamedTuple

from helpers.kernels import every_kernel

from .sizes import SIZES, Size

# A kernel stays in kernel_list.h if some scan would be slower without it by more than this factor.
KEEP_ABOVE = 1.05


class Slowdown(NamedTuple):
    """The scan that would slow down most without a kernel. ``next_best`` is the kernel that would compute it."""

    factor: float = 1.0
    size: Size | None = None
    next_best: str = "-"


def fastest(candidates, step, without=""):
    """Returns the seconds of a scan, and the kernel that the planner would choose if ``without`` did not exist.

    ``step`` is the time of the step path, which launches a kernel for each line.
    """
    plans = [plan for plan in candidates if plan.variant.name != without]
    fastest = min(plans, key=lambda plan: plan.cost, default=None)
    if fastest is None or fastest.seconds > step:
        return step, "step path"
    return fastest.seconds, fastest.variant.name


def slowdowns(core):
    """Returns {name of a kernel: the largest Slowdown of a scan of SIZES}."""
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
    """Returns the names of the kernels that are the only resident kernel for some hidden size."""
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
