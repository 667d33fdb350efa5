import math
from functools import partial

import pytest
import torch

from gpu_day import report, sampling
from gpu_day.jobs import JOBS, SamplingJob
from gpu_day.results import Results
from gpu_day.verdict import verdicts
from helpers.models import make_model
from pixelrnn_ext.operators import columns, library

from .made_up_day import Report, cells

GPU = "cpu:0"  # a CPU device that stands for a GPU
MEGAHERTZ, LAUNCH = 1755.0, 2e-5
CHAINS = [job for job in JOBS["sampling"] if job.quantity in ("rounds", "exchanges", "clusters", "weights")]


def measured(job, known=()):
    found = Report()
    sampling.measure(job, set(known), found, GPU)
    return found.results


@pytest.fixture
def tiny(monkeypatch):
    backends = {"cpu": "reference", GPU: "auto"}
    make = partial(make_model, "diagonal", "rgb", torch.float32)
    monkeypatch.setattr(sampling, "build", lambda name, device: make(backend=backends[device]))


@pytest.fixture
def emulated(monkeypatch):
    from helpers.emulated.sampling import use_emulated_gpu

    monkeypatch.setattr(sampling, "called_seconds", lambda function, calls: sampling.wall_seconds(function))
    monkeypatch.setattr(sampling, "sm_megahertz", lambda: MEGAHERTZ)
    monkeypatch.setattr(sampling, "multiprocessors", lambda: 8)
    for name, value in {"WIDTH": 2, "HEIGHT": 1, "REPEATS": 1}.items():
        monkeypatch.setattr(sampling, name, value)
    return use_emulated_gpu(monkeypatch)


JOB = SamplingJob("same images", "cifar10-row", (2,), 2, 3)


@pytest.mark.parametrize(
    ("name", "change", "wrong"),
    [
        ("incremental", lambda values: values, 0),
        ("incremental", lambda values: values.index_put((torch.tensor(1),) * 4, (values[1, 1, 1, 1] + 3) % 7), 1),
        ("logit_map", lambda logits: logits * 1.00001, 0),
        ("logit_map", lambda logits: logits * torch.nan, 0),
    ],
    ids=["right", "value", "logits", "nan"],
)
def test_a_wrong_image_is_seen(name, change, wrong, tiny, monkeypatch, tmp_path):
    function = getattr(sampling.sampling, name)

    def changed(*arguments, ways=sampling.WAYS, **options):
        result = function(*arguments, ways=ways, **options)
        return change(result) if ways == ("pytorch",) else result

    monkeypatch.setattr(sampling.sampling, name, changed)
    found, is_right = measured(JOB), name == "incremental" and not wrong
    assert measured(JOB, found) == {}
    *ways, pytorch = found.values()
    assert [way["status"] for way in ways] == ["cannot run"] * 2
    assert pytorch["status"] == ("ok" if is_right else "mismatch") and pytorch["wrong"] == wrong
    assert pytorch["note"].startswith(f"{wrong} of 36 values wrong, {wrong} differ from a CPU's images")
    results = Results(tmp_path)
    for provider, facts in {**found, None: {"status": "ok"}}.items():
        results.add("sampling", JOB, provider, **facts)
    [verdict] = {v.verdict for v in verdicts(results.select("sampling")) if v.case == JOB.case}
    assert verdict == ("PASS" if is_right else "FAILED")
    [row] = cells(report.sampling_table(results.select("sampling")))
    assert row[:3] == ["same images, cifar10-row", "pytorch, 2 images", "error of the logits"]


@pytest.fixture
def made_up_gpu(monkeypatch):
    """A GPU whose launches take LAUNCH seconds longer than a plan for an H100 expects."""
    if reason := library.why_no_planner():
        pytest.skip(reason)
    plan = columns.plan_rows
    monkeypatch.setattr(columns, "is_gpu", lambda device: True)
    monkeypatch.setattr(columns, "plan_rows", lambda *program: plan(*program[:3], 90, program[4]))
    monkeypatch.setattr(sampling, "multiprocessors", lambda: 132)
    monkeypatch.setattr(sampling, "sm_megahertz", lambda: MEGAHERTZ)
    seconds = lambda sampler, n, device: LAUNCH + sampler.team.seconds * sampling.WIDTH * sampling.HEIGHT  # noqa: E731
    monkeypatch.setattr(sampling, "chain_seconds", seconds)


@pytest.mark.parametrize("job", CHAINS, ids=str)
def test_chains_fit_and_launches_cancel(job, made_up_gpu):
    found = measured(job)
    assert {result["status"] for result in found.values()} == {"ok"}, found
    values, expected = ([result[name] for result in found.values()] for name in ("measured", "expected"))
    if job.quantity in ("rounds", "exchanges"):
        exchange = 225 * (job.quantity == "exchanges")
        assert set(expected) == {(984 if "cell" in job.case else 648) + exchange}
        assert values == pytest.approx([(1000 if "cell" in job.case else 700) + exchange] * len(job.images))
    if job.quantity == "clusters":
        assert [round(value, 2) for value in values] == expected == [1, 1, 1, 1, 2, 2]
    if job.quantity == "weights":
        assert expected == pytest.approx([898.56, 5500]) and values == pytest.approx(expected, rel=0.01)


@pytest.mark.emulated
@pytest.mark.parametrize("wrong", [0, 1])
def test_every_way_draws_the_images_of_a_cpu(wrong, tiny, emulated, monkeypatch):
    draw_rows = columns.draw_rows

    def draw(tensors, plan, maps, *arguments):
        draw_rows(tensors, plan, maps, *arguments)
        maps[2][1, 0, 0, 0] ^= wrong

    monkeypatch.setattr(columns, "draw_rows", draw)
    statuses = [result["status"] for result in measured(JOB).values()]
    assert statuses == ["mismatch" if wrong else "ok", "ok", "ok"]


@pytest.mark.emulated
@pytest.mark.parametrize(
    "job",
    [
        SamplingJob("rounds", "cell h4", (1, 0)),
        SamplingJob("exchanges", "linear h4", (1,)),
        SamplingJob("clusters", "linear h16", (1,)),
        SamplingJob("weights", "linear h32", (1,)),
        JOB._replace(quantity="batches"),
        JOB._replace(quantity="launches"),
    ],
    ids=str,
)
def test_everything_is_measured(job, tiny, emulated):
    found = measured(job)
    # The emulated GPU replaces the kernels for all tensors, so a CPU cannot be measured beside it.
    found.pop("a CPU, 2 images", None)
    # The time of an operation is measured as a long chain's time minus a short chain's time. On a busy machine the
    # emulator may run the long chain faster, so the measured time may be negative.
    assert all((result["status"], math.isfinite(result["measured"])) == ("ok", True) for result in found.values()), (
        found
    )
