"""Tests the table of costs that measurements on a GPU give the planner."""

import pytest

from helpers.root import ROOT
from kernel_costs import cost_table
from kernel_costs.measured import FIRST_LINE, WEIGHTS_OF_CYCLE, line_cycles, measured_table, write_costs

# Cycles to start a block and to load its 4096 bytes of weights, 32 bytes a cycle.
START = 2000 + 4096 / 32


def plan_text(kernel="forward_bf16_2_1_256_single", blocks=1, threads=256, at_once=132, cycles=600):
    return (
        f"{kernel}: {blocks} block{'s' * (blocks > 1)} an image, {threads} threads, 4096 bytes of shared memory, "
        f"{at_once} at once; expected 0.02 ms, {cycles} cycles a line, by a model, NVRTC 12.9.86"
    )


def layout(us, *, times=True, images=16, directions=1, plan=None, status="ok"):
    plan = plan or plan_text()
    kernels = {"pack_bf16": (1, 2.0), plan.partition(":")[0]: (1, us)} if times else {}
    scan = {"size": (images, 28, 28, 16), "directions": directions, "format": "bf16"}
    return {"status": status, "plan": plan, "times": kernels, "mhz": 1700.0, **scan}


def test_cycles_of_a_line_are_those_of_one_wave():
    header = (ROOT / "csrc/cuda/scan/plan.h").read_text()
    for name, value in (("first_line", FIRST_LINE), ("weights_of_cycle", WEIGHTS_OF_CYCLE)):
        assert f"double {name} = {value:g};" in header
    # The scan has 512 thread blocks, one for each of 256 images and 2 directions. Each block computes 55 lines.
    many = dict(images=256, directions=2)

    def cycles(at_once, bound=""):
        return line_cycles(layout(100.0, **many, plan=plan_text(at_once=at_once) + bound), 132)

    # A wave is the set of blocks that run at once. Before its first line, a wave takes 2000 cycles, and 4096 / 32
    # cycles for each block of a multiprocessor. In 4096 / 32 cycles, the multiprocessor loads the 4096 bytes of a
    # block's weights.
    by_waves = [(100.0 * 1700 / waves - 2000 - blocks * 4096 / 32) / 55 for waves, blocks in ((1, 4), (2, 2), (2, 3))]
    assert cycles(512) == cycles(1000) == pytest.approx(by_waves[0])
    assert cycles(256) == pytest.approx(by_waves[1])
    assert cycles(290) == pytest.approx(by_waves[2])  # waves of 290 and 222 blocks
    assert cycles(300) is None
    assert cycles(512, ", bound by memory") is None
    # 128 clusters of 8 blocks compute four images each, in 8 waves.
    plan = plan_text(at_once=16).replace("1 block an image", "8 blocks for 4 images")
    shared = line_cycles(layout(100.0, **many, plan=plan), 132)
    assert shared == pytest.approx((100.0 * 1700 / 8 - 2000 - 4096 / 8 / 32) / 55)


def test_the_planners_table_from_measurements(tmp_path):
    kernel, other = "forward_bf16_2_1_256_single", "forward_bf16_8_4_256_cluster"
    exact = (600 * 55 + START) / 1700
    doubled = (1200 * 55 + START) / 1700
    results = [
        layout(exact, plan=plan_text(kernel)),
        layout(doubled, plan=plan_text(kernel)),
        layout((1200 * 55 + 2016) / 1700, plan=plan_text(other, 8, 128, 16)),
        layout(1.0, plan=plan_text(kernel), status="mismatch"),
        # The table has no costs for 1.5 warps on a scheduler.
        layout(exact, plan=plan_text(kernel, threads=192)),
    ]
    before, (after, count) = cost_table.read(), measured_table(results, "a GPU", 132)
    assert count == 2 and after.source == "measurements on a GPU"
    old, new = ({row.kernel: row.costs for row in table.rows} for table in (before, after))
    assert new[kernel][1].line == pytest.approx(1.5 * old[kernel][1].line)
    assert new[other][0].line == pytest.approx(2 * old[other][0].line)

    note = write_costs(tmp_path / "costs.h", "a GPU", 132, results)
    figures = f"2 of {4 * len(before.rows)} figures of the planner's table"
    assert note == f"{figures} measured: costs.h, for csrc/cuda/scan/costs.h"
    written = cost_table.read(tmp_path / "costs.h")
    assert written.source == after.source and [row.kernel for row in written.rows] == list(old)
    nothing = write_costs(tmp_path / "none.h", "a GPU", 132, [layout(exact, times=False)])
    assert nothing == "no table for the planner, since no layout's cycles are known"
