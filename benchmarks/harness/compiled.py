"""Adds to a case its baseline under torch.compile."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor

from pixelrnn_ext.benchmark.gpu import GpuCase
from pixelrnn_ext.benchmark.problems import BASELINE, Case, Differentiable, Problem, Size

from .cxx import compiler

COMPILE_SECONDS = 600.0  # the limit for a loop whose first step compiles, on a GPU


@dataclass(eq=False)
class Compiled(Differentiable):
    """Runs each step once before it is timed, because torch.compile compiles at the first call."""

    def step(self, mode: str) -> Callable[[], Any]:
        run = super().step(mode)
        run()
        return run


def why_not_compiled() -> str:
    return "" if shutil.which(compiler()[0]) else "no C++ compiler"


def compile_blocks(model: torch.nn.Module) -> torch.nn.Module:
    """Compiles the blocks of a model. They are alike, so that torch.compile compiles one, and the others reuse it."""
    torch._dynamo.reset()
    for block in model.blocks:
        block.compile(dynamic=False)
    return model


def compile_loop(loop: Differentiable) -> Compiled:
    @cache
    def compiled() -> Callable[..., Tensor]:
        import torch._functorch.config as functorch

        torch._dynamo.reset()
        functorch.donated_buffer = False  # allows several backwards of one forward
        return torch.compile(loop.run, dynamic=False)

    def run(*inputs: Tensor) -> Tensor:
        return compiled()(*inputs)

    fields = loop.inputs, loop.cotangent, loop.names, loop.to_common, loop.exact
    return Compiled(compiled_name(loop.name), run, *fields)


def compiled_name(baseline: str) -> str:
    return f"{baseline}, compiled"


def _build(build: Callable[[Size, Any], Problem], baseline: str, size: Size, dtype: Any) -> Problem:
    problem = build(size, dtype)
    if reason := why_not_compiled():
        problem.absent[compiled_name(baseline)] = reason
    else:
        problem.providers += [compile_loop(p) for p in problem.providers if p.name == baseline]
    return problem


def with_compiled(case: Case) -> Case:
    """Returns a case of a CPU with its baseline under torch.compile."""
    against = *case.against, compiled_name(case.baseline)
    return replace(case, build=partial(_build, case.build, case.baseline), against=against)


def with_compiled_loop(case: GpuCase) -> GpuCase:
    """Returns a case of a GPU with its good loop under torch.compile."""
    return replace(case, build=partial(_build, case.build, BASELINE))
