"""The matrix products of a layer alone, by torch.mm. Their time is a lower bound for a layer that calls cuBLAS."""

from collections.abc import Callable

import torch

from pixelrnn_ext.benchmark.products import Products

FLOOR = "GEMM floor"


class GemmFloor:
    name = FLOOR

    def __init__(self, products: Products, dtype: torch.dtype) -> None:
        cells, inputs, outputs, directions = products
        shapes = (cells, inputs), (inputs, outputs), (cells, outputs)
        a, b, dout = (torch.randn(shape, dtype=dtype) for shape in shapes)
        self._forward = [(a, b)] * directions
        self._backward = [(dout, b.t().contiguous()), (a.t(), dout)] * directions

    def step(self, mode: str) -> Callable[[], None]:
        products = {"forward": self._forward, "backward": self._backward}.get(mode, self._forward + self._backward)

        def run() -> None:
            for a, b in products:
                torch.mm(a, b)

        return run
