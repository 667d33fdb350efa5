"""Calls the operators of sampling and coding (csrc/operators/columns.cpp) for incremental/native.py."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .._sentences import reason
from . import library


def is_gpu(device: torch.device) -> bool:
    """Tests replace this function to use the emulator."""
    return device.type == "cuda"


def why_not_on(device: torch.device, capability: int | None = None) -> str | None:
    """Returns one sentence why no compiled kernels can run steps on ``device``, or None if they can.

    With a ``capability`` the CUDA kernels run the steps. It is 10 * major + minor of a GPU, or 0 for ``device``. A plan
    for a GPU that need not be present does not ask whether this build has machine code for it.
    """
    if device.type not in ("cpu", "cuda"):
        return f"expected a CPU or a CUDA GPU, got {device.type}"
    if capability:
        return library.why_no_planner() or _too_old(capability)
    if capability == 0 or is_gpu(device):
        return library.why_no_cuda() or library.why_no_code(device)
    return library.why_no_native()


def _too_old(capability: int) -> str | None:
    if capability >= 75:
        return None
    return f"expected a GPU of compute capability 7.5 or later, got {capability // 10}.{capability % 10}"


def run(
    tensors: list[Tensor], code: list[int], margin: int, temperature: float, on_grid: bool, *streams: Tensor | None
) -> None:
    """Runs a program (csrc/columns/program.h) at each column of a row."""
    torch.ops.pixelrnn_ext.run_columns(tensors, code, margin, temperature, on_grid, *streams)


class CannotRun(Exception):
    """Raised with the reason why CUDA kernels cannot run a program, or why another way is faster."""


def launches(tensors: list[Tensor], code: list[int], margin: int) -> int:
    """Returns the number of launches for one column. Raises CannotRun if a GPU cannot run the program."""
    return _plan(torch.ops.pixelrnn_ext.column_launches, tensors, code, margin)


def _plan(operator: Callable[..., Any], *arguments: Any) -> Any:
    """Calls a planner. Raises CannotRun if it refuses the program."""
    try:
        return operator(*arguments)
    except RuntimeError as error:
        sentence = reason(error)
        if sentence.startswith("run_columns: "):
            raise CannotRun(sentence.removeprefix("run_columns: ")) from None
        raise


class Programs(NamedTuple):
    """The compiled programs of an image row.

    ``margin`` is the number of columns to the left of the row.
    """

    main: list[int]
    mirrored: list[int]
    before_row: list[int]
    after_row: list[int]
    margin: int


class Team(NamedTuple):
    """The blocks of threads that draw an image.

    ``shared_memory`` is in bytes for each block. ``seconds`` is the estimated time for one pixel of all images.
    """

    blocks: int
    shared_memory: int
    seconds: float


def plan_rows(tensors: list[Tensor], programs: Programs, height: int, capability: int, blocks: int = 0) -> Team:
    """Returns the team for :func:`draw_rows`, that is, the blocks of threads that draw one image.

    If ``blocks`` is not 0, the team has this number of blocks. ``capability`` is 10 * major + minor, or 0 for the
    tensors' GPU. Raises CannotRun if the GPU cannot run the programs in one launch, or if another way is faster.
    """
    return Team(*_plan(torch.ops.pixelrnn_ext.plan_rows, tensors, *programs, height, blocks, capability))


def upload_rows(tensors: list[Tensor], programs: Programs, height: int, blocks: int) -> Tensor:
    """Plans the programs and copies the plan to the GPU. Returns a tensor that owns it, for :func:`draw_rows`."""
    return torch.ops.pixelrnn_ext.upload_rows(tensors, *programs, height, blocks)


def draw_rows(
    tensors: list[Tensor],
    plan: Tensor,
    maps: tuple[Tensor, Tensor, Tensor, Tensor | None],
    temperature: float,
    first_row: int,
    last_row: int,
) -> None:
    """``maps`` are uniform, known, values, logits (csrc/operators/cuda/columns.h).

    Raises RuntimeError if ``plan`` does not come from :func:`upload_rows` for these tensors.
    """
    torch.ops.pixelrnn_ext.draw_rows(tensors, plan, *maps, temperature, first_row, last_row)


@functools.cache
def step_code(name: str) -> int:
    return torch.ops.pixelrnn_ext.column_step(name)


def block_width(gates: int, dtype: torch.dtype, for_gpu: bool) -> int:
    """Returns the number of outputs in one block of packed weights (csrc/columns/steps.h).

    If ``gates`` is 4, the block belongs to an LSTM cell, and the function returns the number of hidden units in the
    block.
    """
    if for_gpu:
        return 4 // gates  # must equal kColumnBlocks in csrc/cuda/sampler/block_plan.h
    return torch.ops.pixelrnn_ext.column_block(gates, dtype == torch.float64)


def range_encode(intervals: Tensor) -> bytes:
    return torch.ops.pixelrnn_ext.range_encode(intervals).numpy().tobytes()


def round_to_grid(x: Tensor, bits: int, limit: float) -> None:
    """Rounds a contiguous float64 tensor in place to multiples of 2**-bits, ties to even, clamped to [-limit, limit].

    The threads' rounding mode has no effect.
    """
    torch.ops.pixelrnn_ext.round_to_grid(x, bits, limit)
