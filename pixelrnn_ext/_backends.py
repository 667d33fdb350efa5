"""Which backend runs: one predicate that chooses, or explains why not."""

import torch

from . import _library

BACKENDS = ("auto", "native", "reference")


def check_name(backend: str) -> None:
    """ValueError unless ``backend`` is one of :data:`BACKENDS`."""
    if backend not in BACKENDS:
        raise ValueError(f"expected backend to be one of {', '.join(map(repr, BACKENDS))}, got {backend!r}")


def why_not_native(device: torch.device) -> str | None:
    """None when the compiled kernels run on tensors of ``device``, else one sentence why not."""
    if device.type == "cpu":
        return _library.why_no_native()
    return f"the native kernels run on CPU tensors, got tensors on {device}"


def choose(backend: str, device: torch.device) -> str:
    """``"native"`` or ``"reference"``. RuntimeError when a backend that was asked for cannot run."""
    check_name(backend)
    reason = None if backend == "reference" else why_not_native(device)
    if backend == "native" and reason:
        raise RuntimeError(f"backend='native' cannot run: {reason}")
    return "reference" if backend == "reference" or reason else "native"
