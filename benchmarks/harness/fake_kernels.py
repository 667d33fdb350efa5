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
    """Stands in for the compiled CUDA operators that operators/scan/gpu.py calls.

    Copies operands that are not contiguous, as the compiled operators do. With four gates and several directions, h and
    its gradient lie in memory with the directions first. ``launched`` is called with each operator's name.
    """

    READ = "x", "weight_hh", "h0", "c0", "peephole"  # operands that the recurrence's kernel reads
    # operators/scan/gpu.py reads these operators' schemas.
    scan, scan_gradients = torch.ops.pixelrnn_ext.scan, torch.ops.pixelrnn_ext.scan_gradients

    def __init__(self, launched: Callable[[str], None]) -> None:
        self._launched = launched

    def recurrence(self, *scan: Any) -> tuple[Tensor, ...]:
        self._launched("pixelrnn_ext::recurrence")
        s = Scan(*scan)
        s = s.with_operands({k: v.contiguous() for k, v in s.operands.items() if k in self.READ})
        (directions, _, hidden, gates, _), maps = s.weight_hh.shape, s.x.shape[:4]
        if gates == 4 and directions > 1:
            h = _launch(s.x, (*maps, hidden)).permute(1, 2, 3, 0, 4)
        else:
            h = _launch(s.x, (*maps[1:], directions, hidden), s.sizes)
        return h, s.x.new_empty(*maps, hidden), s.x.new_empty(*maps, gates * hidden)

    def recurrence_backward(self, dh: Tensor, c: Tensor, gates: Tensor, *scan: Any) -> tuple[Tensor, ...]:
        self._launched("pixelrnn_ext::recurrence_backward")
        s = Scan(*scan)
        directions, images, height, width, hidden = c.shape
        if s.weight_hh.shape[3] == 4 and directions > 1:
            dh = dh.permute(3, 0, 1, 2, 4)
        dh, c, gates, *_ = _dense(dh, c, gates, s.weight_hh, s.c0, s.peephole, s.sizes)
        left = c.new_empty(directions, images, height if s.diagonal else width, hidden)
        above = c.new_empty(directions, images * (s.weight_hh.shape[3] == 5), hidden)
        return _launch(dh, gates.shape, s.sizes), left, above

    def neighbour_states(self, h, h0, sizes, corners, diagonal, taps, first, count) -> Tensor:
        self._launched("pixelrnn_ext::neighbour_states")
        *maps, directions, hidden = _dense(h)[0].shape
        return _launch(h, (directions, *maps, count, hidden))

    def border_sums(self, dx, sizes, corners, diagonal, taps) -> Tensor:
        self._launched("pixelrnn_ext::border_sums")
        directions, images, _, _, rows = _dense(dx)[0].shape
        return _launch(dx, (directions, images, taps, rows))


class FakeTritonKernel:
    """Stands in for a Triton kernel. ``launched`` is called with the kernel's name at each launch."""

    def __init__(self, name: str, launched: Callable[[str], None]) -> None:
        self._name, self._launched = name, launched

    def launch(self, *args: Any, **constants: Any) -> None:
        self._launched(f"triton::{self._name}")

    def __getitem__(self, grid: object) -> Callable[..., None]:
        return self.launch


def scan_kernels(launched: Callable[[str], None]) -> Implementations:
    """Returns {operator's name: implementation that operators/scan/gpu.py registers}, on FakeKernels."""
    implementations: Implementations = {}
    torch.ops.fake_kernels = FakeKernels(launched)
    with mock.patch("torch.library.impl", lambda name, _, kernel: implementations.update({name: kernel})):
        gpu.register("fake_kernels", "cuda")
    return {name.replace("fake_kernels", "pixelrnn_ext"): kernel for name, kernel in implementations.items()}


def gpu_kernels(launched: Callable[[str], None]) -> tuple[Implementations, ModuleType | None]:
    """Returns the implementations of all operators on a GPU, and the module whose Triton kernels they launch.

    The module is None without triton. ``launched`` is called with the name of each of our compiled operators.
    """
    implementations = scan_kernels(launched)
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


def _launch(like: Tensor, shape: tuple[int, ...], sizes: Tensor | None = None) -> Tensor:
    """Allocates a kernel's output. With ``sizes``, torch zeroes it, because the kernel skips the padding."""
    return like.new_empty(shape) if sizes is None else like.new_zeros(shape)
