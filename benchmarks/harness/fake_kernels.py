"""Stands in for the CUDA kernels, so that any machine can count the operators that torch dispatches around them.

The stand-ins compute nothing.
"""

from collections.abc import Callable
from types import ModuleType
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from pixelrnn_ext.operators.scan import gpu
from pixelrnn_ext.operators.scan.arguments import Scan

Implementations = dict[str, Callable[..., Any]]


class FakeKernels:
    """Stands in for the compiled CUDA operators that operators/scan/gpu.py calls for the layers of a PixelRNN.

    Copies operands that are not contiguous, as the compiled operators do. h and its gradient lie in memory with the
    directions first. ``launched`` is called with each operator's name.
    """

    READ = "x", "weight_hh", "h0", "c0"  # operands that the recurrence's kernel reads
    # operators/scan/gpu.py reads these operators' schemas.
    scan, scan_gradients = torch.ops.pixelrnn_ext.scan, torch.ops.pixelrnn_ext.scan_gradients

    def __init__(self, launched: Callable[[str], None]) -> None:
        self._launched = launched

    def recurrence(self, *scan: Any) -> tuple[Tensor, ...]:
        self._launched("pixelrnn_ext::recurrence")
        s = Scan(*scan)
        s = s.with_operands({k: v.contiguous() for k, v in s.operands.items() if k in self.READ})
        (_, _, hidden, gates, _), maps = s.weight_hh.shape, s.x.shape[:4]
        h = s.x.new_empty(*maps, hidden).permute(1, 2, 3, 0, 4)
        return h, s.x.new_empty(*maps, hidden), s.x.new_empty(*maps, gates * hidden)

    def recurrence_backward(self, dh: Tensor, c: Tensor, gates: Tensor, *scan: Any) -> tuple[Tensor, ...]:
        self._launched("pixelrnn_ext::recurrence_backward")
        s = Scan(*scan)
        directions, images, height, width, hidden = c.shape
        dh, c, gates, *_ = _dense(dh.permute(3, 0, 1, 2, 4), c, gates, s.weight_hh, s.c0)
        left = c.new_empty(directions, images, height if s.diagonal else width, hidden)
        return dh.new_empty(gates.shape), left, c.new_empty(directions, 0, hidden)

    def neighbour_states(self, h, h0, sizes, corners, diagonal, taps, first, count) -> Tensor:
        self._launched("pixelrnn_ext::neighbour_states")
        *maps, directions, hidden = _dense(h)[0].shape
        return h.new_empty(directions, *maps, count, hidden)

    def border_sums(self, dx, sizes, corners, diagonal, taps) -> Tensor:
        self._launched("pixelrnn_ext::border_sums")
        directions, images, _, _, rows = _dense(dx)[0].shape
        return dx.new_empty(directions, images, taps, rows)


class FakeTritonKernel:
    """Stands in for a Triton kernel. ``launched`` is called with the kernel's name at each launch."""

    def __init__(self, name: str, launched: Callable[[str], None]) -> None:
        self._name, self._launched = name, launched

    def launch(self, *args: Any, **constants: Any) -> None:
        self._launched(f"triton::{self._name}")

    def __getitem__(self, grid: object) -> Callable[..., None]:
        return self.launch


def gpu_kernels(launched: Callable[[str], None]) -> tuple[Implementations, ModuleType | None]:
    """Returns the implementations of all operators on a GPU, and the module whose Triton kernels they launch.

    The module is None without triton. ``launched`` is called with the name of each of our compiled operators.
    """
    implementations: Implementations = {}
    torch.ops.fake_kernels = FakeKernels(launched)
    with mock.patch("torch.library.impl", lambda name, _, kernel: implementations.update({name: kernel})):
        gpu.register("fake_kernels", "cuda")
    implementations = {name.replace("fake_kernels", "pixelrnn_ext"): run for name, run in implementations.items()}
    try:
        from pixelrnn_ext.operators.masked_conv import gpu as convolution
        from pixelrnn_ext.operators.masked_conv import rules
    except ImportError:
        return implementations, None
    for name in "masked_conv2d", "masked_conv2d_backward":
        implementations[f"pixelrnn_ext::{name}"] = getattr(rules, name)
    return implementations, convolution


def _dense(*operands: Any) -> list[Any]:
    return [t.contiguous() if isinstance(t, torch.Tensor) else t for t in operands]
