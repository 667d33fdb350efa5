"""Which backend runs: one predicate that chooses, or explains why not."""

from typing import NamedTuple

import torch

from . import _library
from ._arguments import integer, integers

BACKENDS = ("auto", "native", "step", "resident", "reference")
CONVOLUTION_BACKENDS = ("auto", "native", "reference")
# The path of the operators (csrc/cuda/recurrence.h) by backend.
_PATHS = {"auto": "auto", "native": "auto", "step": "step", "resident": "resident"}


def check_name(backend: str, names: tuple[str, ...] = BACKENDS) -> None:
    """ValueError unless ``backend`` is one of ``names``."""
    if backend not in names:
        raise ValueError(f"expected backend to be one of {', '.join(map(repr, names))}, got {backend!r}")


def why_not_native(device: torch.device) -> str | None:
    """None when the compiled kernels run on tensors of ``device``, else one sentence why not."""
    if device.type == "cpu":
        return _library.why_no_native()
    if device.type == "cuda":
        return _library.why_no_cuda()
    return f"the native kernels run on CPU and CUDA tensors, got tensors on {device}"


def of_convolutions(backend: str) -> str:
    """The backend of a model's masked convolutions, whose recurrent layers have ``backend``."""
    return "native" if backend in ("step", "resident") else backend


def choose(backend: str, device: torch.device) -> str | None:
    """The operators' path, or None: the reference. RuntimeError when a backend that was asked for cannot run.

    ``"resident"`` may still be refused by the operator, which knows the sizes: see :func:`pixelrnn_ext.resident_plan`.
    """
    check_name(backend)
    if backend == "reference":
        return None
    reason = why_not_native(device)
    if backend in ("step", "resident") and device.type != "cuda":
        reason = f"it is a path of the CUDA kernels, got tensors on {device}"
    if reason and backend != "auto":
        raise RuntimeError(f"backend={backend!r} cannot run: {reason}")
    return None if reason else _PATHS[backend]


def runs_masked_conv(backend: str, input: torch.Tensor) -> bool:
    """Whether the operator of masked_conv2d runs, or else the reference. RuntimeError when ``"native"`` cannot run."""
    check_name(backend, CONVOLUTION_BACKENDS)
    if backend == "reference":
        return False
    reason = _why_no_masked_conv(input)
    if reason and backend == "native":
        raise RuntimeError(f"backend={backend!r} cannot run: {reason}")
    return reason is None


def _why_no_masked_conv(input):
    if input.device.type == "cpu":
        return _library.why_no_native()
    if input.device.type != "cuda":
        return f"masked convolutions run on CPU and CUDA tensors, got tensors on {input.device}"
    try:
        from . import _masked_conv_triton
    except ImportError as error:
        return f"triton cannot be imported ({error})"
    return _masked_conv_triton.why_not(input)


def allows_tf32() -> bool:
    """Whether torch may compute float32 matrix products in tf32, by whichever of its settings."""
    return torch.backends.cuda.matmul.fp32_precision == "tf32"


# All that torch.compiler.assume_constant_result does, which imports the whole compiler first: a second, and sympy.
allows_tf32._dynamo_marked_constant = True


class ResidentPlan(NamedTuple):
    """What ``backend="native"`` launches on a GPU, in words.

    A kernel, its layout and the time that it should take; or ``"step path: "`` and the reason, which may be that it should be faster.
    A time is expected by a model, unless it says that it comes from measurements on a card.
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
) -> ResidentPlan:
    """Whether the resident CUDA kernels take a scan, which one, and how it is laid out; if not, why.

    Args:
        height, width: of the map.
        hidden: hidden channels of one direction.
        diagonal, taps: the Diagonal LSTM has 2 taps, the Row LSTM an odd number.
        images, directions: the batch; 2 directions for a Diagonal BiLSTM.
        dtype: float32, float16 or bfloat16 (float64 always takes the step path). tf32: float32 maps, products in tf32.
        capability: of the GPU, such as (9, 0); None is the current one, which no other number needs.

    Raises:
        RuntimeError: the CUDA kernels are not built, or there is no GPU and no capability.

    Example:
        >>> resident_plan(32, 32, 128, images=1, dtype=torch.bfloat16, capability=(9, 0)).forward  # doctest: +SKIP
        'forward_bf16_8_1_256_cluster: 8 blocks an image, 256 threads, 17968 bytes of shared memory, 16 at once; expected ...'
    """
    reason = _library.why_no_cuda()
    if reason:
        raise RuntimeError(f"resident_plan needs the CUDA kernels: {reason}")
    height, width, hidden, taps, directions = integers(
        height=height, width=width, hidden=hidden, taps=taps, directions=directions
    )
    images = integer("images", images, 0)
    formats = {torch.float32: "tf32" if tf32 else "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}
    if dtype == torch.float64:
        return ResidentPlan(*["step path: expected float32, float16 or bfloat16, got float64"] * 2)
    if dtype not in formats:
        raise TypeError(f"expected dtype to be float32, float64, float16 or bfloat16, got {dtype}")
    level = 0 if capability is None else 10 * capability[0] + integer("capability's minor", capability[1], 0)
    plans = torch.ops.pixelrnn_ext.describe_plan(
        directions, images, height, width, hidden, taps, diagonal, formats[dtype], level, "auto"
    )
    return ResidentPlan(*plans)
