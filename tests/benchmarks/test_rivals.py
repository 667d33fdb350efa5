"""Tests the implementations of other compilers, which the layers' benchmarks time beside ours."""

import importlib.util
import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

import bench_diag
import bench_row
import bench_training
import pixelrnn_ext as px
from harness import compiled, in_jax, report
from pixelrnn_ext.benchmark.problems import Size, worst_error

CASES = {case.kind: case for case in bench_diag.CASES + bench_row.CASES}.values()


@pytest.fixture
def jax_steps():
    pytest.importorskip("jax", reason="the bench extra brings jax")
    return importlib.import_module("harness.jax_steps")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.kind)
def test_jax_computes_the_reference(case, jax_steps):
    problem = case.build(Size(2, 5, 3, 4), torch.float64)
    (provider,) = (p for p in problem.providers if p.name == in_jax.JAX)
    error, where = worst_error(provider.results(), problem.reference())
    assert error < 1e-12, where
    whole, parts = provider.step("forward+backward")(), provider.step("backward")()
    assert [a.shape for a in whole[1:]] == [a.shape for a in parts]
    assert provider.step("forward")()[0].shape == whole[0].shape


def tiny_model():
    """Returns a model in float64 whose states outside the image are not zero."""
    torch.manual_seed(0)
    model = px.from_name("mnist-diagonal", hidden_channels=3, num_layers=2, head_channels=5, backend="reference")
    with torch.no_grad():
        for parameter in model.double().parameters():
            parameter.normal_(std=0.5)
    return model, torch.randint(2, (2, 1, 4, 3), dtype=torch.uint8)


def test_jax_trains_like_the_reference(jax_steps):
    model, images = tiny_model()
    rival = in_jax.training_step(model, images, bench_training.LEARNING_RATE)
    expected = bench_training.losses(bench_training.step(model, images))
    assert bench_training.losses(rival) == pytest.approx(expected, rel=1e-12, abs=0)
    assert report.header("bench_training.py", [], [1])["JAX"] == importlib.import_module("jax").__version__


@pytest.mark.sweep
def test_compiled_blocks_train_like_the_reference_and_are_compiled_once(monkeypatch):
    compiles = CompileCounterWithBackend("aot_eager")  # needs no minutes for C++
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=compiles))
    expected, got = (
        bench_training.losses(bench_training.step(prepare(model), images))
        for prepare in (lambda model: model, compiled.compile_blocks)
        for model, images in [tiny_model()]
    )
    assert got == pytest.approx(expected, rel=1e-12, abs=0)
    assert compiles.frame_count == 1


def workers():
    """Returns the identifiers of the threads of XLA's clients."""
    return {task.name for task in Path("/proc/self/task").iterdir() if "Eigen" in (task / "comm").read_text()}


def test_jax_has_as_many_threads_as_torch(jax_steps):
    cores = os.sched_getaffinity(0)
    for threads in {1, len(cores)}:
        jax_steps.start_client.cache_clear()
        before = workers()
        jax_steps.start_client(threads)
        assert len(workers() - before) == threads and os.sched_getaffinity(0) == cores


def test_what_is_not_installed_is_left_out_with_a_reason(monkeypatch):
    case = compiled.with_compiled(bench_diag.CASES[0])
    case = replace(case, size=case.size.tiny())
    assert "good loop, compiled" in [p.name for p in case.problem(torch.float32).providers]

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("CXX", "no-such-compiler")
    problem = case.problem(torch.float32)
    assert problem.absent == {"JAX": "not installed: pip install jax", "good loop, compiled": "no C++ compiler"}
    assert not {p.name for p in problem.providers} & problem.absent.keys()
    options = SimpleNamespace(model="mnist-diagonal", compiled=True)
    notes = ["Left out: JAX (not installed: pip install jax).", "Left out: reference, compiled (no C++ compiler)."]
    assert bench_training.rivals(options, None, None) == ({}, notes)
