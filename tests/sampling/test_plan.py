"""Tests px.sampling_plan, and where users see a plan."""

import re
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import pixelrnn_ext as px
from helpers.models import COLOURS, WIRED_MODELS, generator, make_model
from pixelrnn_ext import from_name, sampling
from pixelrnn_ext.incremental import plan
from pixelrnn_ext.operators import backends, columns, library

SHARED_MEMORY = {80: 166912, 86: 101376, 90: 232448, 100: 232448, 120: 101376}
needs_planner = pytest.mark.skipif(library.why_no_planner() is not None, reason=str(library.why_no_planner()))


@needs_planner
@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    name=st.sampled_from(sorted(WIRED_MODELS)),
    colours=st.sampled_from(sorted(COLOURS)),
    hidden=st.sampled_from([3, 16, 48, 130]),
    layers=st.integers(1, 3),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    capability=st.sampled_from(sorted(SHARED_MEMORY)),
    images=st.sampled_from([1, 16, 131, 300]),
    size=st.tuples(st.integers(1, 20), st.integers(1, 3)),
)
def test_plans(name, colours, hidden, layers, dtype, capability, images, size):
    model = make_model(name, colours, dtype, hidden_channels=hidden, num_layers=layers)
    shape = model.image_channels, 2 * size[0], 2 * size[1]  # multiples of the factor of multi-scale models
    few, many = (px.sampling_plan(model, n, shape, capability=divmod(capability, 10))[-1] for n in (images, 2 * images))
    assert few.way in ("images", "stages") and few.launches > 0 and bool(few.why_not) == (few.way == "stages")
    if few.way == "images":
        blocks = 8 if "a cluster of 8 blocks" in few.description else 1
        assert blocks == 1 or capability >= 90
        assert int(re.search(r"(\d+) bytes", few.description)[1]) <= SHARED_MEMORY[capability]
        assert few.launches <= shape[1]
    else:
        assert many.way == "stages" and few.launches == many.launches


@pytest.mark.parametrize("backend", ["auto", "reference"])
def test_a_plan_on_a_cpu_is_what_happens(backend, monkeypatch):
    model, seen = make_model("diagonal", backend=backend), []
    draws = sampling.checked_draws(model, 2, (1, 3, 3), generator(), 1.0, None, None)
    sampling.incremental(model, draws, on_plan=seen.append)
    assert seen == px.sampling_plan(model, 2, (1, 3, 3))
    is_native = backend == "auto" and library.why_no_native() is None
    assert seen[0].way == ("rows" if is_native else "pytorch") and seen[0].launches == 0
    assert bool(seen[0].why_not) != is_native


def test_drawing_by_pytorch_on_a_gpu_is_said_once(monkeypatch):
    monkeypatch.setattr(backends, "_warned", set())
    monkeypatch.setattr(columns, "is_gpu", lambda device: True)
    monkeypatch.setattr(library, "why_no_cuda", lambda: "no CUDA kernels")
    model = make_model("row")
    with pytest.warns(RuntimeWarning, match="which is slower than the CUDA kernels: no CUDA kernels"):
        [plan] = px.sampling_plan(model, 2, (1, 3, 3))
    assert plan.way == "pytorch"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        px.sampling_plan(model, 2, (1, 3, 3))
        px.sampling_plan(make_model("row", backend="reference"), 2, (1, 3, 3))


@needs_planner
def test_a_gpu_that_is_too_old_is_planned_by_pytorch():
    [plan] = px.sampling_plan(make_model("row"), 1, (1, 2, 2), capability=(7, 0))
    assert plan.way == "pytorch" and plan.why_not == ("expected a GPU of compute capability 7.5 or later, got 7.0",)


def test_a_plan_draws_no_random_numbers():
    model, state = make_model("diagonal"), torch.random.get_rng_state()
    px.sampling_plan(model, 2, (1, 3, 3))
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_multi_scale_model_has_a_plan_for_each_network():
    model = px.MultiScalePixelRNN("row", image_channels=1, levels=2, hidden_channels=4, num_layers=1)
    assert [p.way for p in px.sampling_plan(model, 2, (1, 4, 4))] == [
        "rows" if library.why_no_native() is None else "pytorch"
    ] * 2


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            (torch.nn.Linear(1, 1), 1, (1, 2, 2)),
            TypeError,
            "expected a PixelRNN, PixelCNN or MultiScalePixelRNN, got Linear",
        ),
        ((make_model("row"), -1, (1, 2, 2)), ValueError, "expected n"),
        ((make_model("row"), 1, (2, 2, 2)), ValueError, "expected shape"),
    ],
    ids=["model", "n", "shape"],
)
def test_wrong_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        px.sampling_plan(*arguments)
    with pytest.raises((TypeError, ValueError), match="capability"):
        px.sampling_plan(make_model("row"), 1, (1, 2, 2), capability="9.0")


def test_the_last_way_can_be_forced():
    model, seen = make_model("row"), []
    draws = sampling.checked_draws(model, 1, (1, 2, 2), generator(), 1.0, None, None)
    sampling.incremental(model, draws, ways=["pytorch"], on_plan=seen.append)
    assert seen[0].way == "pytorch" and plan.WAYS[-1] == "pytorch"


@needs_planner
def test_a_sentence_for_each_way_that_is_not_taken():
    [taken] = px.sampling_plan(from_name("cifar10-row"), 16, (3, 32, 32), capability=(8, 0))
    assert str(taken) == (
        "87 + 0 launches for a pixel of all images, planned for compute capability 8.0 without asking a GPU; "
        "no faster way: expected a model whose weights fit in the shared memory of a block"
    )
