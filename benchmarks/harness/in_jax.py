"""Adds an implementation in JAX to a case."""

import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from pixelrnn_ext.benchmark.problems import BASELINE, Case, Differentiable, Problem, Size

JAX = "JAX"


@dataclass(eq=False)
class InJax(Differentiable):
    """``run`` is a function of jax_scan.py. It gets the tensors of ``inputs`` as arrays.

    JAX has the threads that torch has when this object is made. It starts at the first step, so that a job that does
    not time it needs no client.
    """

    def __post_init__(self) -> None:
        self._threads = torch.get_num_threads()
        self._steps: dict[str, Callable[[], Any]] = {}

    def step(self, mode: str) -> Callable[[], Any]:
        from . import jax_steps

        if mode not in self._steps:
            jax_steps.start_client(self._threads)
            self._steps[mode] = jax_steps.make_step(self.run, mode, self.inputs, self.cotangent)
        return self._steps[mode]

    def results(self) -> dict[str, Tensor]:
        from . import jax_steps

        return self.named(jax_steps.to_torch(self.step("forward+backward")()))


def why_no_jax() -> str:
    if importlib.util.find_spec("jax") is None:
        return "not installed: pip install jax"
    return "" if hasattr(os, "sched_setaffinity") else "its threads can be limited on Linux alone"


def _matrix(weight: Tensor) -> Tensor:
    """Returns a weight (outputs, inputs, ..., taps) as JAX multiplies by it, (taps * inputs, outputs)."""
    return weight.flatten(2).permute(2, 1, 0).flatten(0, 1) if weight.ndim > 1 else weight


def training_step(model: torch.nn.Module, images: Tensor, learning_rate: float) -> Callable[[], Any]:
    """Returns a training step of jax_training.py that begins with the parameters of ``model``."""
    from . import jax_steps

    jax_steps.start_client(torch.get_num_threads())
    parameters = {name: _matrix(parameter) for name, parameter in model.named_parameters()}
    return jax_steps.make_training_step(parameters, images, learning_rate)


def _in_jax(loop: Differentiable, function: str, diagonal: bool, taps: int) -> InJax:
    """Returns a function of jax_scan.py with the inputs of ``loop``, in the layout in which it computes.

    Maps (N, channels, H, W) become (N, H, W, channels), and weights become matrices.
    """

    def run(*arrays: Any) -> Any:
        from . import jax_scan

        geometry = jax_scan.DIAGONAL if diagonal else jax_scan.row(taps)
        return getattr(jax_scan, function)(geometry, *arrays)

    def shape_gradient(gradient: Tensor, weight: Tensor) -> Tensor:
        if weight.ndim == 1:
            return gradient
        outputs, inputs = weight.shape[:2]
        return gradient.view(-1, inputs, outputs).permute(2, 1, 0).reshape(weight.shape)

    def to_common(y: Tensor, dx: Tensor, *gradients: Tensor) -> list[Tensor]:
        return [*(m.permute(0, 3, 1, 2) for m in (y, dx)), *map(shape_gradient, gradients, weights)]

    x, *weights = loop.inputs
    x, dy = (m.permute(0, 2, 3, 1) for m in (x, loop.cotangent))
    return InJax(JAX, run, [x, *map(_matrix, weights)], dy, loop.names, to_common)


def _build(
    build: Callable[[Size, torch.dtype], Problem],
    function: str,
    diagonal: bool,
    taps: int,
    size: Size,
    dtype: torch.dtype,
) -> Problem:
    problem = build(size, dtype)
    (loop,) = (p for p in problem.providers if p.name == BASELINE)
    if reason := why_no_jax():
        problem.absent[JAX] = reason
    else:
        problem.providers.append(_in_jax(loop, function, diagonal, taps))
    return problem


def with_jax(case: Case, *, diagonal: bool, taps: int) -> Case:
    function = "layer" if "layer" in case.kind else "recurrence"
    build = partial(_build, case.build, function, diagonal, taps)
    return replace(case, build=build, against=(*case.against, JAX))
