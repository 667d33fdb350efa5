"""Chooses the backend of a call, that is, compiled kernels or plain PyTorch."""

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
    """Returns the backend of the masked convolutions of a model whose recurrent layers use ``backend``.

    Convolutions have no ``"step"`` and no ``"resident"``, and use ``"native"`` instead.
    """
    return "native" if backend in ("step", "resident") else backend


def uses_kernels(backend: str, names: tuple[str, ...], why_not: Callable[[], str | None]) -> bool:
    """Returns True if an operator runs its kernels, and False if it runs plain PyTorch.

    ``names`` are the values that ``backend`` may have. ``why_not`` returns why the kernels cannot run, or None if they
    can. If ``backend`` demands kernels that cannot run, raises RuntimeError with this reason.
    """
    check_name(backend, names)
    if backend == "reference":
        return False
    reason = why_not()
    if reason and backend != "auto":
        raise RuntimeError(f"backend={backend!r} cannot run: {reason}")
    return reason is None


def choose(backend: str, device: torch.device) -> str | None:
    """Returns the argument ``path`` of the scan operator, or None if plain PyTorch is to run the scan.

    A path is a way to run a scan on a GPU (csrc/cuda/path.h). The operator may still refuse ``"resident"`` because of
    the sizes: see :func:`pixelrnn_ext.resident_plan`. The errors are those of :func:`uses_kernels`.
    """

    def why_not() -> str | None:
        if backend in ("step", "resident") and device.type != "cuda":
            return f"it is a path of the CUDA kernels, got tensors on {device}"
        return why_not_native(device)

    if not uses_kernels(backend, BACKENDS, why_not):
        return None
    return "auto" if backend == "native" else backend
