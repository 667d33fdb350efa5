"""Chooses the backend of a call, for all families of operators by one rule: :func:`runs`."""

from collections.abc import Callable

import torch

from . import library

BACKENDS = ("auto", "native", "step", "resident", "reference")
CONVOLUTION_BACKENDS = ("auto", "native", "reference")
# {backend: the ``path`` argument of the operators (csrc/operators/cuda/recurrence.h)}.
_PATHS = {"auto": "auto", "native": "auto", "step": "step", "resident": "resident"}


def check_name(backend: str, names: tuple[str, ...] = BACKENDS) -> None:
    if backend not in names:
        raise ValueError(f"expected backend to be one of {', '.join(map(repr, names))}, got {backend!r}")


def why_not_native(device: torch.device) -> str | None:
    if device.type == "cpu":
        return library.why_no_native()
    if device.type == "cuda":
        return library.why_no_cuda() or library.why_no_code(device)
    return f"the native kernels run on CPU and CUDA tensors, got tensors on {device}"


def of_convolutions(backend: str) -> str:
    """Returns the backend of the masked convolutions of a model whose recurrent layers have ``backend``."""
    return "native" if backend in ("step", "resident") else backend


def runs(backend: str, names: tuple[str, ...], why_not: Callable[[], str | None]) -> bool:
    """Returns whether an operator's kernels run. Otherwise plain PyTorch runs. ``names`` are the operator's backends.

    ``why_not`` returns one sentence why the kernels cannot run, or None. If ``backend`` demands kernels that cannot
    run, RuntimeError has this sentence.
    """
    check_name(backend, names)
    if backend == "reference":
        return False
    reason = why_not()
    if reason and backend != "auto":
        raise RuntimeError(f"backend={backend!r} cannot run: {reason}")
    return reason is None


def choose(backend: str, device: torch.device) -> str | None:
    """Returns the scan operator's ``path`` argument, or None for plain PyTorch. Raises the errors of :func:`runs`.

    The operator, which knows the sizes, may later refuse ``"resident"``: see :func:`pixelrnn_ext.resident_plan`.
    """

    def why_not() -> str | None:
        if backend in ("step", "resident") and device.type != "cuda":
            return f"it is a path of the CUDA kernels, got tensors on {device}"
        return why_not_native(device)

    return _PATHS[backend] if runs(backend, BACKENDS, why_not) else None
