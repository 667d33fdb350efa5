"""Chooses the backend. :func:`runs` is the only rule; each family of operators tells it why its kernels cannot run."""

from collections.abc import Callable

import torch

from . import library

BACKENDS = ("auto", "native", "step", "resident", "reference")
CONVOLUTION_BACKENDS = ("auto", "native", "reference")
# The operators' path (csrc/operators/cuda/recurrence.h) by backend.
_PATHS = {"auto": "auto", "native": "auto", "step": "step", "resident": "resident"}


def check_name(backend: str, names: tuple[str, ...] = BACKENDS) -> None:
    if backend not in names:
        raise ValueError(f"expected backend to be one of {', '.join(map(repr, names))}, got {backend!r}")


def why_not_native(device: torch.device) -> str | None:
    """Returns one sentence why the compiled kernels do not run on tensors of ``device``, or None."""
    if device.type == "cpu":
        return library.why_no_native()
    if device.type == "cuda":
        return library.why_no_cuda() or library.why_no_code(device)
    return f"the native kernels run on CPU and CUDA tensors, got tensors on {device}"


def of_convolutions(backend: str) -> str:
    """Returns the backend of the masked convolutions of a model whose recurrent layers have ``backend``."""
    return "native" if backend in ("step", "resident") else backend


def runs(backend: str, names: tuple[str, ...], why_not: Callable[[], str | None]) -> bool:
    """Returns whether the kernels of an operator with the backends ``names`` run; otherwise plain PyTorch runs.

    ``why_not`` returns one sentence why the kernels cannot run, or None. Raises RuntimeError with this sentence where
    the kernels were asked for.
    """
    check_name(backend, names)
    if backend == "reference":
        return False
    reason = why_not()
    if reason and backend != "auto":
        raise RuntimeError(f"backend={backend!r} cannot run: {reason}")
    return reason is None


def choose(backend: str, device: torch.device) -> str | None:
    """Returns the path of a scan's operator, or None for plain PyTorch. Errors as in :func:`runs`.

    The operator, which knows the sizes, may still refuse ``"resident"``: see :func:`pixelrnn_ext.resident_plan`.
    """

    def why_not() -> str | None:
        if backend in ("step", "resident") and device.type != "cuda":
            return f"it is a path of the CUDA kernels, got tensors on {device}"
        return why_not_native(device)

    return _PATHS[backend] if runs(backend, BACKENDS, why_not) else None
