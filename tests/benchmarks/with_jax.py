"""Tests of the implementations in JAX, which test_rivals.py runs in a process of their own."""

import os
from dataclasses import replace
from pathlib import Path

import jax
import pytest
import torch

import bench_diag
import bench_row
import bench_training
from harness import command, in_jax, jax_steps, report
from helpers.tiny import tiny_model
from pixelrnn_ext.benchmark.problems import Size, worst_error

CASES = {case.kind: case for case in bench_diag.CASES + bench_row.CASES}.values()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.kind)
def test_jax_computes_the_reference(case):
    problem = case.build(Size(2, 5, 3, 4), torch.float64)
    (provider,) = (p for p in problem.providers if p.name == in_jax.JAX)
    error, where = worst_error(provider.results(), problem.reference())
    assert error < 1e-12, where
    whole, parts = provider.step("forward+backward")(), provider.step("backward")()
    assert [a.shape for a in whole[1:]] == [a.shape for a in parts]
    assert provider.step("forward")()[0].shape == whole[0].shape


def test_a_benchmark_times_jax(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "measure", lambda threads: {})
    case, table = bench_diag.CASES[0], tmp_path / "table.csv"
    arguments = ["--check", "--threads", "1", "--csv", str(table)]
    case = replace(case, size=case.size.tiny())
    assert command.main(bench_diag.__file__, bench_diag.__doc__, [case], [], arguments) == 0
    assert f",{in_jax.JAX}," in table.read_text()


def test_jax_trains_like_the_reference():
    model, images = tiny_model()
    rival = in_jax.training_step(model, images, bench_training.LEARNING_RATE)
    expected = bench_training.losses(bench_training.step(model, images))
    assert bench_training.losses(rival) == pytest.approx(expected, rel=1e-12, abs=0)
    assert report.header("bench_training.py", [], [1])["JAX"] == jax.__version__


def workers():
    """Returns the identifiers of the threads of XLA's clients."""
    return {task.name for task in Path("/proc/self/task").iterdir() if "Eigen" in (task / "comm").read_text()}


def test_jax_has_as_many_threads_as_torch():
    cores = os.sched_getaffinity(0)
    for threads in {1, len(cores)}:
        jax_steps.start_client.cache_clear()
        before = workers()
        jax_steps.start_client(threads)
        assert len(workers() - before) == threads and os.sched_getaffinity(0) == cores
