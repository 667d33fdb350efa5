"""Scales the planner's cost table to measurements of a scan's lines on a GPU."""

import re
from functools import partial
from pathlib import Path
from typing import NamedTuple

from . import cost_table

# Copies of constants in csrc/cuda/scan/plan.h: cycles before a block's first line, and bytes of weights that a
# multiprocessor loads in a cycle.
FIRST_LINE, WEIGHTS_OF_CYCLE = 2000.0, 32.0
# line_cycles() returns None if the last wave has a smaller share than this of a full wave's clusters.
MIN_LAST_WAVE = 0.75


class PlanFigures(NamedTuple):
    """The numbers that Plan::describe (csrc/cuda/scan/plan.cpp) prints."""

    kernel: str
    blocks: int  # thread blocks of a cluster
    images: int  # images that one cluster computes
    threads: int
    at_once: int  # clusters (or single blocks) that run at once
    microseconds: float
    cycles: float  # expected cycles of one line


_PLAN = re.compile(
    r"(\w+): (\d+) blocks? (?:an image|for (\d+) images), (\d+) threads, .*?(\d+) at once; "
    r"expected ([\d.e+-]+) ms, (\d+) cycles a line"
)


def parse_plan(plan: str) -> PlanFigures | None:
    found = _PLAN.match(plan)
    if found is None:
        return None
    kernel, blocks, images, threads, at_once, milliseconds, cycles = found.groups()
    return PlanFigures(
        kernel, int(blocks), int(images or 1), int(threads), int(at_once), 1e3 * float(milliseconds), float(cycles)
    )


def kernel_us(result: dict, prefixes: str | tuple[str, ...]) -> float | None:
    times = [us for name, (_, us) in (result.get("times") or {}).items() if name.startswith(prefixes)]
    return sum(times) if times else None


scan_us = partial(kernel_us, prefixes=("forward_", "backward_"))
pack_us = partial(kernel_us, prefixes="pack_")


def clusters(result: dict, plan: PlanFigures) -> int:
    return -(-result["size"][0] // plan.images) * result["directions"]


def blocks_of_a_multiprocessor(result: dict, plan: PlanFigures, multiprocessors: int) -> int:
    return -(-min(clusters(result, plan), plan.at_once) * plan.blocks // multiprocessors)


def line_cycles(result: dict, multiprocessors: int) -> float | None:
    """Returns the measured clock cycles of one line (row or anti-diagonal) of a scan.

    The GPU runs the scan's thread block clusters in waves, and the cycles are those of one wave. The function returns
    None if the measurement lacks the kernel's name and launch sizes, the time or the clock frequency. It also returns
    None if memory bandwidth limits the scan, or if the last wave fills only a small part of the GPU.
    """
    plan, microseconds, megahertz = parse_plan(result["plan"]), scan_us(result), result.get("mhz")
    if plan is None or microseconds is None or megahertz is None or "bound by memory" in result["plan"]:
        return None
    full_waves, rest = divmod(clusters(result, plan), plan.at_once)
    if full_waves and 0 < rest < MIN_LAST_WAVE * plan.at_once:
        return None
    waves = full_waves + bool(rest)
    _, height, width, hidden = result["size"]
    # Each block loads a part of two weights of shape [hidden, 4 * hidden], one for each neighbour of a cell.
    weight_bytes = 2 * 4 * hidden**2 * (2 if result["format"] in ("bf16", "fp16") else 4) / plan.blocks
    start = FIRST_LINE + blocks_of_a_multiprocessor(result, plan, multiprocessors) * weight_bytes / WEIGHTS_OF_CYCLE
    return (microseconds * megahertz / waves - start) / (height + width - 1)


def measured_table(results: list[dict], gpu: str, multiprocessors: int) -> tuple[cost_table.Table, int]:
    """Returns the table of csrc/cuda/scan/costs.h scaled to measurements, and the number of measured costs."""
    ratios = {}
    for result in results:
        plan, cycles = parse_plan(result.get("plan", "")), None
        if result["status"] == "ok" and plan is not None:
            cycles = line_cycles(result, multiprocessors)
        if cycles is not None:
            # The cost table counts the warps on one of a multiprocessor's four schedulers.
            warps = max(1, blocks_of_a_multiprocessor(result, plan, multiprocessors) * plan.threads / 32 / 4)
            if warps in cost_table.WARPS:
                ratios.setdefault((plan.kernel, int(warps)), []).append(cycles / plan.cycles)
    figures = {key: (sum(found) / len(found), 1.0) for key, found in ratios.items()}
    return cost_table.read().scaled(gpu, figures), len(figures)


def write_costs(path: Path, gpu: str, multiprocessors: int, results: list[dict]) -> str:
    table, count = measured_table(results, gpu, multiprocessors)
    if not count:
        return "no table for the planner, since no layout's cycles are known"
    cost_table.write(table, path)
    figures = len(table.rows) * len(cost_table.WARPS)
    return f"{count} of {figures} figures of the planner's table measured: {path.name}, for csrc/cuda/scan/costs.h"
