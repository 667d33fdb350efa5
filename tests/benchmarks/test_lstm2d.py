from dataclasses import replace

import pytest
import torch

import bench_lstm2d
from harness import lstm2d
from harness.command import BUDGETS
from harness.loop2d import Lines, lstm2d_good_loop
from harness.lstm2d import PIXELS, ROWS_AND_COLUMNS
from harness.options import CHECK
from pixelrnn_ext.benchmark import problems
from pixelrnn_ext.benchmark.jobs import Job
from pixelrnn_ext.benchmark.problems import BASELINE, NATIVE, Size
from pixelrnn_ext.benchmark.run import Benchmark

TINY = [replace(case, size=case.size.tiny()) for case in {case.kind: case for case in bench_lstm2d.CASES}.values()]


def test_what_is_outside_an_image_reaches_nothing_of_the_good_loop():
    size, sizes = Size(2, 4, 5, 3), torch.tensor([[4, 5], [3, 2]])
    lines = Lines(size, ("tl", "tr", "bl", "br"), sizes)
    parameters = [torch.randn(shape).requires_grad_() for shape in ((4, 15, 2, 1, 1), (4, 15, 3, 2), (4, 15))]
    x, dy = size.map(2, torch.float32), size.map(12, torch.float32)

    def results():
        leaf = x.clone().requires_grad_()
        y = lstm2d_good_loop(lines, leaf, *parameters)
        return [y, *torch.autograd.grad(y, [leaf, *parameters], dy)]

    expected = results()
    x[1, :, 3:], x[1, :, :, 2:] = float("nan"), float("inf")
    dy[1, :, 3:] = dy[1, :, :, 2:] = float("nan")
    assert all(torch.equal(*pair) for pair in zip(results(), expected))


@pytest.mark.parametrize("case", TINY, ids=lambda case: case.kind)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_the_baselines_compute_what_they_are_checked_against(case, dtype):
    """In bfloat16, the loop rounds 160 times. Independent errors of 2^-8 add up to sqrt(160) * 2^-8 = 5e-2."""
    problem = case.problem(dtype)
    baselines = {p.name: p for p in problem.providers if not p.name.startswith(NATIVE)}
    assert list(baselines) == list(case.against)
    for provider in baselines.values():
        exact = (provider.exact or problem.reference)()
        error, where = problems.worst_error(provider.results(), exact)
        assert error < (1e-12 if dtype == torch.float64 else 5e-2), where


@pytest.mark.parametrize("case", bench_lstm2d.CASES, ids=str)
def test_an_lstm_instead_does_as_many_products(case):
    channels = case.size.hidden
    products = lstm2d.VARIANTS[case].directions * 5 * channels * 3 * channels
    over_pixels = [lstm2d.OverPixels(channels, products, both, torch.float32) for both in (False, True)]
    for module in (*over_pixels, lstm2d.AlongRowsAndColumns(channels, products, torch.float32)):
        weights = [weight for weight in module.parameters() if weight.ndim == 2]
        assert sum(weight.numel() for weight in weights) == pytest.approx(products, rel=0.02)
        assert {weight.shape[1] for weight in weights} == {channels, weights[1].shape[1]}


def test_another_function_has_its_own_reference(monkeypatch):
    (case,) = [case for case in TINY if case.kind == "LSTM2d, 4 directions"]
    job = Job(case, 1, {BASELINE, PIXELS, ROWS_AND_COLUMNS})
    benchmark = Benchmark(replace(BUDGETS[CHECK], memory=0))
    benchmark.run([job])
    (result,) = benchmark.results
    rows = {provider: result.values(provider, {(torch.float32, 1): 1e11}) for provider in result.providers}
    assert not benchmark.mismatches and all(row["median ms"] for row in rows.values())
    for name in (PIXELS, ROWS_AND_COLUMNS):
        assert rows[name]["share of peak"] is None and rows[name][f"speed-up over {BASELINE}"] is None
    assert rows[BASELINE]["share of peak"] > 0

    right = lstm2d.exact_layer
    monkeypatch.setattr(lstm2d, "exact_layer", lambda *args: {name: 1.01 * t for name, t in right(*args).items()})
    benchmark.run([job])
    wrong = {name for name in job.providers if any(name in line for line in benchmark.mismatches)}
    assert wrong == job.providers


def test_ragged_images_are_of_all_widths():
    size = Size(16, 16, 200, 32)
    heights, widths = lstm2d.ragged_sizes(size).T
    assert set(heights.tolist()) == {16} and (widths.min(), widths.max()) == (60, 200)
    assert widths.tolist() != sorted(widths.tolist())
    assert lstm2d.area_fraction(size) == pytest.approx(0.65, abs=0.01)
    assert lstm2d.area_fraction(size.tiny()) == pytest.approx((2 + 5) / 10)
