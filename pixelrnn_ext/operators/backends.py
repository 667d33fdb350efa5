"""Which backend runs: one predicate that chooses, or explains why not."""

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
