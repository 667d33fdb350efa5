import pytest
import torch

from gpu_day.costs import parse_plan
from gpu_day.jobs import ScanJob
from gpu_day.scans import Arguments, Scan, kernels, measure_layouts, measure_operators

from .made_up_day import Report


class MadeUpOps:
    """Made-up operators for a GPU with only one kernel, which can run with 1 or 2 groups of warps.

    The operators return ``output(path)``, where ``path`` names the requested layout.
    """

    def __init__(self, kernel, output):
        self.kernel, self.output = kernel, output

    def describe_current_plan(self, *sizes_and_path):
        *sizes, format, path = sizes_and_path
        assert sizes == [1, 2, 3, 4, 8, 2, True] and format == "bf16"
        if path == "auto":
            return (self._plan_text(2),) * 2
        _, suffix, blocks, groups = path.split(":")
        fits = (suffix, int(blocks)) == (self.kernel.suffix, self.kernel.blocks[0]) and groups in "12"
        return (self._plan_text(groups) if fits else "step path: no kernel is compiled for it",) * 2

    def _plan_text(self, groups):
        return f"{self.kernel.name}: {self.kernel.blocks[0]} blocks an image, {64 * int(groups)} threads"

    def recurrence(self, *args):
        s = Arguments(*args)
        assert s.weight_hh.dtype == s.x.dtype == torch.bfloat16
        assert (s.diagonal, s.merge, s.tf32) == (True, "none", False)
        return (self.output(s.path),) * 3

    def recurrence_backward(self, dh, c, gates, *args):
        return self.output(Arguments(*args).path), None, None


def layouts_measured(backward, output=lambda path: torch.ones(3), known=()):
    kernel = next(k for k in kernels() if (k.format, k.backward) == ("bf16", backward))
    report = Report()
    job = ScanJob((2, 3, 4, 8), 1, "bf16", backward)
    measure_layouts(job, set(known), report, "cpu", MadeUpOps(kernel, output))
    step = report.results.pop("step")
    assert (step["status"], step["error"], step["chosen"]) == ("ok", 0, False)
    assert all(path.startswith(f"resident:{kernel.suffix}:{kernel.blocks[0]}:") for path in report.results)
    return report.results


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
def test_layouts_are_each_found_once_and_the_planners_comes_first(backward):
    results = layouts_measured(backward)
    assert [path.split(":")[3] for path in results] == ["2", "1"]
    assert [result["chosen"] for result in results.values()] == [True, False]
    assert all(result["status"] == "ok" and result["error"] == 0 for result in results.values())
    first, second = results
    assert list(layouts_measured(backward, known=[first])) == [second]


def test_a_layout_that_is_wrong_or_raises_gets_no_time():
    def output(path):
        if path.split(":")[3:4] == ["1"]:
            raise RuntimeError("CUDA error\nmore")
        return torch.tensor([1.0, 2.0, 2.5 if path.startswith("resident") else 2.0])

    wrong, raised = layouts_measured(False, output).values()
    assert wrong["status"] == "mismatch" and wrong["note"] == "differs from the step path by 2.5e-01, allowed 1e-01"
    assert raised["status"] == "failed" and raised["note"] == "RuntimeError: CUDA error"
    results = layouts_measured(False, lambda path: torch.ones(3) * (float("nan") if "resident" in path else 1))
    assert {result["status"] for result in results.values()} == {"mismatch"}


def test_every_operator_is_measured():
    report = Report()
    job = ScanJob((2, 3, 4, 8), 2, "bf16")
    measure_operators(job, {"backward"}, report, "cpu", MadeUpOps(None, lambda path: torch.ones(3)))
    assert list(report.results) == ["forward", "weight gradient", "step forward", "step backward"]


def emulated_operators():
    from helpers.emulated import library

    return library.load().ops


@pytest.mark.emulated
@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
def test_every_layout_that_is_named_runs(backward):
    report = Report()
    job = ScanJob((2, 9, 5, 16), 1, "bf16", backward)
    measure_layouts(job, set(), report, "cpu", emulated_operators())
    found = report.results
    assert {event["status"] for event in found.values()} == {"ok"}, found
    assert sum(event["chosen"] for event in found.values()) == 1
    del found["step"]
    plans = [(event["plan"], parse_plan(event["plan"])) for event in found.values()]
    assert all(parsed and plan.startswith(f"{parsed.kernel}: {parsed.blocks} block") for plan, parsed in plans), plans
    assert {path.split(":")[2] for path in found} == {"1", "2"}


@pytest.mark.emulated
def test_a_layout_of_the_forward_needs_none_of_the_backward():
    """8 groups of warps are too many for the backward, whose tiles have more rows."""
    scan = Scan(ScanJob((1, 57, 1, 128), 1, "bf16", backward=False), "cpu", emulated_operators())
    (path, *_) = [path for path in scan.layouts() if path.split(":")[2:4] == ["8", "8"]]
    scan.job = scan.job._replace(backward=True)
    assert scan.plan(path).startswith("step path: ")
    assert (scan.forward(path)[0] - scan.forward("step")[0]).abs().max() < 0.05


@pytest.mark.emulated
def test_every_operator_runs():
    report = Report()
    measure_operators(ScanJob((2, 5, 4, 16), 2, "bf16"), set(), report, "cpu", emulated_operators())
    assert [result["status"] for result in report.results.values()] == ["ok"] * 5, report.results
