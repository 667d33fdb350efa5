"""Asks the planner (csrc/cuda/scan/plan.h), which chooses CUDA kernels, what it would choose for a recurrence."""

from typing import NamedTuple

import torch

from ..._arguments import capability_level, integer, integers
from ..._sentences import planned_for
from ...cells import CELLS, check_cell
from .. import library


class ResidentPlan(NamedTuple):
    """Describes the kernels that ``backend="native"`` launches on a GPU, for the forward and the backward pass.

    A description has the kernel's name, its blocks and threads, the expected time, and the source of this time: a
    performance model of the GPU, or measurements on a GPU. If no resident kernel (one launch for the whole scan) is
    used, the description is ``"step path: "`` and the reason. A plan for a ``capability`` says that no GPU was asked.
    """

    forward: str
    backward: str


def resident_plan(
    height: int,
    width: int,
    hidden: int,
    *,
    diagonal: bool = True,
    taps: int = 2,
    images: int = 1,
    directions: int = 1,
    dtype: torch.dtype = torch.float32,
    tf32: bool = False,
    capability: tuple[int, int] | None = None,
    cell: str | None = None,
) -> ResidentPlan:
    """Returns which resident CUDA kernel runs a scan, with its layout, or the reason why no such kernel runs.

    A resident kernel computes a whole scan in one launch. Its layout is the division of the scan into blocks and
    threads.

    Args:
        height, width: size of the feature map.
        hidden: number of hidden channels of one direction.
        diagonal, taps: the lines of the scan, and how many pixels of earlier lines a pixel reads. If ``diagonal``,
            lines are diagonals with 2 taps. Otherwise they are rows with an odd number of taps.
        images: number of images in the batch.
        directions: 1, 2 for a Diagonal BiLSTM, or up to 4 with ``cell``.
        dtype: float32, float16 or bfloat16. float64 always takes the step path, which launches kernels for every line.
        tf32: whether matrix products of float32 maps are in tf32. A layer takes tf32 if
            ``torch.backends.cudnn.rnn.fp32_precision`` is ``"tf32"``, torch's default.
        capability: compute capability of a GPU, such as (9, 0). The GPU need not be present. None: the current GPU.
        cell: a cell of :class:`pixelrnn_ext.lstm2d.LSTM2d`, without peepholes. A cell needs the default ``diagonal``
            and ``taps``. None: the cell of PixelRNN's layers.

    Raises:
        RuntimeError: the CPU kernels, whose library has the planner, are not built. Or there is no capability, and
            the CUDA kernels are not built, or there is no GPU.
        TypeError, ValueError: an argument does not fit.

    Example:
        >>> resident_plan(32, 32, 128, images=1, dtype=torch.bfloat16, capability=(9, 0)).forward  # doctest: +SKIP
        'forward_bf16_8_4_256_cluster: 8 blocks an image, 256 threads, 17968 bytes of shared memory, 16 at once;
        expected ...'
    """
    if capability is None and (reason := library.why_no_cuda()):
        raise RuntimeError(f"resident_plan without a capability needs the CUDA kernels: {reason}")
    if reason := library.why_no_planner():
        raise RuntimeError(f"resident_plan needs the planner: {reason}")
    height, width, hidden, taps, directions = integers(
        height=height, width=width, hidden=hidden, taps=taps, directions=directions
    )
    images = integer("images", images, 0)
    gates = 4
    if cell is not None:
        check_cell(cell)
        gates = len(CELLS[cell].gates)
        if not diagonal or taps != 2:
            raise ValueError(f"expected diagonal=True and taps=2 with a cell, got {diagonal} and {taps}")
    limit = 2 if cell is None else 4
    if directions > limit:
        raise ValueError(f"expected at most {limit} directions, got {directions}")
    formats = {torch.float32: "tf32" if tf32 else "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}
    if dtype == torch.float64:
        return ResidentPlan(*["step path: expected float32, float16 or bfloat16, got float64"] * 2)
    if dtype not in formats:
        raise TypeError(f"expected dtype to be float32, float64, float16 or bfloat16, got {dtype}")
    sizes = directions, images, height, width, hidden, taps, diagonal, formats[dtype]
    if capability is None:
        return ResidentPlan(*torch.ops.pixelrnn_ext.describe_current_plan(*sizes, "auto", gates))
    level = capability_level(capability)
    plans = torch.ops.pixelrnn_ext.describe_plan(*sizes, level, "auto", gates)
    return ResidentPlan(*(f"{plan}; {planned_for(level)}" for plan in plans))
