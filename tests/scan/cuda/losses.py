"""Computes how much slower scans would be without a kernel, by the planner's own model."""

from itertools import product
from typing import NamedTuple

from helpers.kernels import every_kernel

from .sizes import SIZES, Size

MOST = 1.05  # kernel_list.h keeps a kernel if some size takes longer without the kernel by more than this factor


class Loss(NamedTuple):
    """The size that needs a kernel most, and the time without the kernel over the time with it."""

    factor: float = 1.0
    size: Size | None = None
    next_best: str = "-"


def best(candidates, step, without=""):
    """Returns the seconds and the kernel's name of the choice by plan() of csrc/cuda/plan.cpp."""
    plans = [plan for plan in candidates if plan.variant.name != without]
    fastest = min(plans, key=lambda plan: plan.cost, default=None)
    if fastest is None or fastest.seconds > step:
        return step, "step path"
    return fastest.seconds, fastest.variant.name


def losses(core):
    """Returns {kernel: its Loss over SIZES}."""
    found = {kernel.name: Loss() for kernel in every_kernel()}
    for size in SIZES:
        problem, card = size.problem(core), core.known_device(size.capability)
        candidates, step = core.candidates(problem, card), core.estimate_step(problem, card)
        seconds, chosen = best(candidates, step)
        slower, next_best = best(candidates, step, without=chosen)
        if chosen in found and slower > found[chosen].factor * seconds:
            found[chosen] = Loss(slower / seconds, size, next_best)
    return found


def only_kernels(core):
    """Returns the kernels that are the only resident kernel for some hidden size."""
    found = set()
    sizes = product((80, 90, 120), core.Format, (False, True), range(8, 257, 8), ((1, 4), (2, 4), (3, 4), (2, 5)))
    for capability, format, backward, hidden, (taps, gates) in sizes:
        size = Size(capability, format.name, backward, hidden, taps, 8, 16, 1, gates)
        plans = core.candidates(size.problem(core), core.known_device(capability))
        found |= {plan.variant.name for plan in plans} if len(plans) == 1 else set()
    return found


def print_table(core):
    print("| kernel | size that needs it most | next best | time without the kernel |\n|---|---|---|---|")
    for kernel, loss in losses(core).items():
        size = " ".join(f"{name}={value}" for name, value in loss.size._asdict().items()) if loss.size else "-"
        print(f"| `{kernel}` | {size} | {loss.next_best} | {100 * loss.factor - 100:+.0f} % |")
