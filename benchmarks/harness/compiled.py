"""torch.compile of the good loop, as one more provider."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch

from pixelrnn_ext.benchmark.problems import BASELINE, COMPILED, Case, Differentiable, Problem, Size


def with_compiled(case: Case) -> Case:
    return replace(case, build=partial(_build, case.build), against=(*case.against, COMPILED))


def _build(build: Callable[[Size, torch.dtype], Problem], size: Size, dtype: torch.dtype) -> Problem:
    problem = build(size, dtype)
    problem.providers += filter(None, [compiled(problem)])
    return problem


def compiled(problem: Problem) -> Differentiable | None:
    """Returns None where the good loop is not one that compiles."""
    loop = {p.name: p for p in problem.providers}.get(BASELINE)
    if not problem.compiles or not isinstance(loop, Differentiable):
        return None
    torch._dynamo.reset()
    import torch._functorch.config as functorch

    functorch.donated_buffer = False  # a lone backward is timed again and again on one graph
    run = torch.compile(loop.run, dynamic=False)
    return Differentiable(COMPILED, run, loop.inputs, loop.cotangent, loop.names, loop.to_common)
