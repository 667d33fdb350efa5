"""Chooses between compiled kernels and plain PyTorch."""

import warnings
from collections.abc import Callable

import torch

from . import library

BACKENDS = ("auto", "native", "step", "resident", "reference")
CONVOLUTION_BACKENDS = ("auto", "native", "reference")


def check_name(backend: str, names: tuple[str, ...] = BACKENDS) -> None:
    if backend not in names:
        raise ValueError(f"expected backend to be one of {', '.join(map(repr, names))}, got {backend!r}")


def why_not_native(device: torch.device) -> str | None:
    if device.type == "cpu":
        return library.why_no_native()
    if device.type == "cuda":
        return library.why_no_cuda() or library.why_no_code(device)
    return f"the native kernels run on CPU and CUDA tensors, got tensors on {device}"


def convolution_backend(backend: str) -> str:
    """Only recurrent layers have ``"step"`` and ``"resident"``."""
    return "native" if backend in ("step", "resident") else backend


def uses_kernels(
    backend: str, names: tuple[str, ...], why_not: Callable[[], str | None], gpu: torch.device | None = None
) -> bool:
    """Returns whether an operator runs kernels. Raises RuntimeError if ``backend`` demands kernels that cannot run.

    If ``"auto"`` takes plain PyTorch on ``gpu``, a warning says why.
    """
    check_name(backend, names)
    if backend == "reference":
        return False
    reason = why_not()
    if reason and backend != "auto":
        raise RuntimeError(f"backend={backend!r} cannot run: {reason}")
    if reason and gpu is not None and gpu.type == "cuda":
        warn_of_pytorch(reason)
    return reason is None


# The reasons of which a warning was given. It outlives the filters of Python's warnings.
_warned: set[str] = set()


def warn_of_pytorch(reason: str) -> None:
    """Warns, once in a process for each reason, that plain PyTorch runs on a GPU and how to get the kernels."""
    kind = reason.partition(", got ")[0]  # without the sizes, of which there may be many
    if kind in _warned:
        return
    _warned.add(kind)
    warnings.warn(
        f"plain PyTorch runs on the GPU, which is slower than the CUDA kernels: {reason} (docs/install.md says how to "
        "get kernels for a GPU; backend='reference' takes plain PyTorch without this warning)",
        RuntimeWarning,
        stacklevel=2,
    )


# Makes torch.compile call the function while it traces. precision.py explains this attribute.
warn_of_pytorch._dynamo_marked_constant = True  # type: ignore[attr-defined]


def kernel_dtype(device: str, dtype: torch.dtype) -> torch.dtype:
    """The dtype of the maps and weights that kernels on ``device`` get, for a result of ``dtype``.

    The kernels for a CPU take no float16, and take bfloat16 if the processor can multiply bfloat16.
    """
    takes_it = device == "cuda" or (dtype == torch.bfloat16 and library.multiplies_bfloat16())
    return dtype if takes_it else torch.promote_types(dtype, torch.float32)


def choose(backend: str, device: torch.device) -> str | None:
    """Returns the scan operator's argument ``path``, or None for plain PyTorch.

    The operator may still refuse ``"resident"`` because of the sizes.
    """

    def why_not() -> str | None:
        if backend in ("step", "resident") and device.type != "cuda":
            return f"it is a path of the CUDA kernels, got tensors on {device}"
        return why_not_native(device)

    if not uses_kernels(backend, BACKENDS, why_not, device):
        return None
    return "auto" if backend == "native" else backend
