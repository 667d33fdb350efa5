"""Estimates how much slower scans would be without a resident kernel."""

from itertools import product
from typing import NamedTuple

from kernel_costs.kernel_list import every_kernel

from .sizes import SIZES, Size

# kernel_list.h keeps a kernel without which some scan would be slower by more than this factor.
KEEP_ABOVE = 1.05


class Slowdown(NamedTuple):
    """The scan that would slow down most without a kernel, and the kernel ``next_best`` that would compute it."""

    factor: float = 1.0
    size: Size | None = None
    next_best: str = "-"


def fastest(candidates, step, without=""):
    """Returns a scan's seconds, and the kernel that the planner would choose if ``without`` did not exist.

    ``step`` is the scan's time with a launch for each line.
    """
    plans = [plan for plan in candidates if plan.variant.name != without]
    fastest = min(plans, key=lambda plan: plan.cost, default=None)
    if fastest is None or fastest.seconds > step:
        return step, "step path"
    return fastest.seconds, fastest.variant.name


def slowdowns(core):
    found = {kernel.name: Slowdown() for kernel in every_kernel()}
    for size in SIZES:
        problem, gpu = size.problem(core), core.known_device(size.capability)
        candidates, step = core.candidates(problem, gpu), core.estimate_step(problem, gpu)
        seconds, chosen = fastest(candidates, step)
        slower, next_best = fastest(candidates, step, without=chosen)
        if chosen in found and slower > found[chosen].factor * seconds:
            found[chosen] = Slowdown(slower / seconds, size, next_best)
    return found


def indispensable_kernels(core):
    """Returns the kernels without which some hidden size would have no resident kernel."""
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


if __name__ == "__main__":
    import core

    print_table(core.load())
