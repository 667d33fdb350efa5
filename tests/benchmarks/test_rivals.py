"""Tests the implementations of other compilers, which the layers' benchmarks time beside ours."""

import importlib.util
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import bench_diag
import bench_row
from harness import compiled, in_jax
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
