"""Tests the implementations of other compilers, which the layers' benchmarks time beside ours."""

import importlib.util
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

import bench_diag
import bench_training
from harness import compiled
from helpers import child
from helpers.tiny import tiny_model


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="the bench extra brings jax")
def test_jax_in_a_process_of_its_own(tmp_path):
    """A process that has imported JAX has its threads, and warns when a later test forks."""
    child.run_tests(Path(__file__).with_name("with_jax.py"), "", tmp_path, {})


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
