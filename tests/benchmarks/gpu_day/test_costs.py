import pytest

from gpu_day import cost_table
from gpu_day.costs import FIRST_LINE, WEIGHTS_OF_CYCLE, line_cycles, measured_table, write_costs
from helpers.root import ROOT

from .made_up_day import START, layout, plan_text


def test_cycles_of_a_line_are_those_of_one_wave():
    header = (ROOT / "csrc/cuda/plan.h").read_text()
    for name, value in (("first_line", FIRST_LINE), ("weights_of_cycle", WEIGHTS_OF_CYCLE)):
        assert f"double {name} = {value:g};" in header
    # The scan has 512 thread blocks, one for each of 256 images and 2 directions. Each block computes 55 lines.
    case = "diagonal B256 28x28 h16, both directions, forward"

    def cycles(at_once, bound=""):
        return line_cycles(layout("2_1_256:1:1", 100.0, case=case, plan=plan_text(at_once=at_once) + bound), 132)

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
    shared = line_cycles(layout("8_1_256_images:8:4", 100.0, case=case, plan=plan), 132)
    assert shared == pytest.approx((100.0 * 1700 / 8 - 2000 - 4096 / 8 / 32) / 55)


def test_the_planners_table_from_measurements(tmp_path):
    kernel, other = "forward_bf16_2_1_256_single", "forward_bf16_8_4_256_cluster"
    exact = (600 * 55 + START) / 1700
    doubled = (1200 * 55 + START) / 1700
    results = [
        layout("2_1_256:1:4", exact, plan=plan_text(kernel)),
        layout("2_1_256:1:4", doubled, plan=plan_text(kernel)),
        layout("8_4_256:8:4", (1200 * 55 + 2016) / 1700, plan=plan_text(other, 8, 128, 16)),
        layout("2_1_256:1:4", 1.0, plan=plan_text(kernel), status="mismatch"),
        # The table has no costs for 1.5 warps on a scheduler.
        layout("2_1_256:1:3", exact, plan=plan_text(kernel, threads=192)),
    ]
    before, (after, count) = cost_table.read(), measured_table(results, "a card", 132)
    assert count == 2 and after.source == "measurements on a card"
    old, new = ({row.kernel: row.costs for row in table.rows} for table in (before, after))
    assert new[kernel][1].line == pytest.approx(1.5 * old[kernel][1].line)
    assert new[other][0].line == pytest.approx(2 * old[other][0].line)

    environment = {"card": "a card, 80 GiB", "multiprocessors": 132}
    note = write_costs(tmp_path, environment, results)
    assert note == f"2 of {4 * len(before.rows)} figures of the planner's table measured: costs.h, for csrc/cuda"
    written = cost_table.read(tmp_path / "costs.h")
    assert written.source == after.source and [row.kernel for row in written.rows] == list(old)
    nothing = write_costs(tmp_path, environment, [layout("2_1_256:1:4", exact, times=False)])
    assert nothing == "no table for the planner, since no layout's cycles are known"
