from gpu_day import report
from gpu_day.results import Results
from gpu_day.scan_tables import exchange_table, layouts_table, operators_table

from .made_up_day import MNIST, START, cells, layout, measurement


def test_report(tmp_path):
    results = Results(tmp_path)
    results.data |= {
        "environment": {"card": "a card", "driver": None},
        "parts": {"tests": {"status": "not run", "note": "no time"}},
        "measurements": [
            measurement("resident"),
            measurement("step", status="failed"),
            measurement(None),
            measurement(None, status="not run", precision="tf32"),
        ],
    }
    text = report.markdown(results)
    assert "- card: a card\n- driver: unknown" in text
    assert f"- {MNIST} fp32, step: failed (because)\n- {MNIST} tf32, the rest: not run (because)" in text
    rows = [[cell.strip() for cell in line.split("|")] for line in text.splitlines()]
    rows = [row for row in rows if row[1:3] == [MNIST, "fp32"]]
    assert [row[9] for row in rows[:3]] == ["PASS", "PASS", "not run"]
    assert rows[3][3:5] == ["resident", "100.0"] and len(rows) == 4


def test_the_fastest_layouts_and_the_planners_are_shown():
    results = [layout(f"2_1_256:1:{g}", us, chosen=g == 5) for g, us in enumerate((22, 20, 40, 25, 30, 50), 1)]
    rows = cells(layouts_table([*results, layout("8_1_256:1:1", 1.0, status="mismatch", note="wrong")], 132))
    assert [row[2].split(":")[2] for row in rows] == ["2", "1", "4", "5"]
    over = [f"{us / 22:.2f}" for us in (22, 24, 27, 32)]
    assert [row[-2:] for row in rows] == list(map(list, zip(over, ["best", "", "", "the planner's"])))
    assert rows[0][3:8] == ["20.0", "2.0", "23.0", "20.0", "1.15"]
    cycles = (20 * 1700 - START) / 55
    assert rows[0][8:12] == [f"{cycles:.0f}", "600", f"{cycles / 600:.2f}", "132"]
    assert rows[3][7] == "1.65 !" and rows[3][10] == f"{(30 * 1700 - START) / 55 / 600:.2f} !"
    (row,) = cells(layouts_table([layout("2_1_256:1:1", 20, times=False, mhz=None, plan="words")], 132))
    assert row[3:11] == ["-", "-", "23.0", "-", "-", "-", "-", "-"]
    assert layouts_table([], 132) == "None."
    step = {**layout("", 30, times=False, chosen=True, plan="step path: expected 0.02 ms"), "provider": "step"}
    rows = cells(layouts_table([step, layout("2_1_256:1:1", 38)], 132))
    assert [(row[2], row[-1]) for row in rows] == [("step", "best, the planner's"), ("2_1_256:1:1", "")]


def test_kernels_of_an_operator_are_divided():
    times = {"pack_bf16": (1, 2.0), "backward_bf16_4_4_256_single": (1, 30.0), "sum": (3, 4.5)}
    backward = {**layout("", 1, times=False, device_us=None), "provider": "backward", "times": times}
    (row,) = cells(operators_table([backward]))
    assert row[2:] == ["backward", "2.0", "30.0", "4.5", "5", "-", "10.0"]


def test_what_the_pieces_of_an_exchange_cost():
    found = [
        {"provider": "launch", "status": "ok", "device_us": 2.5, "call_us": 4.25},
        {"provider": "least, 8 blocks", "status": "ok", "blocks": 8, "pieces": 56, "cycles": 260.0},
        {"provider": "forward, 8 blocks", "status": "ok", "blocks": 8, "pieces": 456, "cycles": 660.0},
        {"provider": "forward, 2 blocks", "status": "cannot run", "note": "no clusters"},
    ]
    table, launch = exchange_table(found).split("\n\n")
    assert cells(table) == [["least, 8 blocks", "56", "260", "-"], ["forward, 8 blocks", "456", "660", "16.0"]]
    assert launch == "A launch: 2.50 us on the GPU, 4.25 us as called; the planner assumes 3 us."
    assert exchange_table(found[:1]) == launch and exchange_table([]) == "None."
