"""Which backend runs. The one rule is :func:`runs`, to which each family of operators says why its kernels cannot."""

from collections.abc import Callable

import torch

from . import library

BACKENDS = ("auto", "native", "step", "resident", "reference")
CONVOLUTION_BACKENDS = ("auto", "native", "reference")
# The path of the operators (csrc/operators/cuda/recurrence.h) by backend.
_PATHS = {"auto": "auto", "native": "auto", "step": "step", "resident": "resident"}


def check_name(backend: str, names: tuple[str, ...] = BACKENDS) -> None:
    """ValueError unless ``backend`` is one of ``names``."""
    if backend not in names:
        raise ValueError(f"expected backend to be one of {', '.join(map(repr, names))}, got {backend!r}")


def why_not_native(device: torch.device) -> str | None:
    """None when the compiled kernels run on tensors of ``device``, else one sentence why not."""
    if device.type == "cpu":
        return library.why_no_native()
    if device.type == "cuda":
        return library.why_no_cuda() or library.why_no_code(device)
    return f"the native kernels run on CPU and CUDA tensors, got tensors on {device}"


def of_convolutions(backend: str) -> str:
    """The backend of a model's masked convolutions, whose recurrent layers have ``backend``."""
    return "native" if backend in ("step", "resident") else backend


def runs(backend: str, names: tuple[str, ...], why_not: Callable[[], str | None]) -> bool:
    """Returns whether the kernels of an operator run; otherwise plain PyTorch computes the same.

    Args:
        names: the backends that the operator has.
        why_not: None where its kernels can run, else one sentence why not. ``"reference"`` does not ask.

    Raises:
        ValueError: the backend is none of ``names``. RuntimeError: its kernels cannot run, and it is not ``"auto"``.
    """
    check_name(backend, names)
    if backend == "reference":
        return False
    reason = why_not()
    if reason and backend != "auto":
        raise RuntimeError(f"backend={backend!r} cannot run: {reason}")
    return reason is None


def choose(backend: str, device: torch.device) -> str | None:
    """Returns the path of a scan's operator, or None for plain PyTorch. Raises as :func:`runs`.

    ``"resident"`` may still be refused by the operator, which knows the sizes: see :func:`pixelrnn_ext.resident_plan`.
    """

    def why_not() -> str | None:
        if backend in ("step", "resident") and device.type != "cuda":
            return f"it is a path of the CUDA kernels, got tensors on {device}"
        return why_not_native(device)

    return _PATHS[backend] if runs(backend, BACKENDS, why_not) else None
