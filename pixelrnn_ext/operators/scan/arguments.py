"""The arguments of ``torch.ops.pixelrnn_ext.scan`` and ``scan_gradients``, in the order of their schemas.

csrc/operators/arguments.h and scan.cpp describe the arguments.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...cells import CELLS

# The differentiable arguments of a scan, which come first.
OPERANDS = "input", "weight_ih", "bias", "x", "weight_hh", "h0", "c0", "peephole"
# The operands that all images share.
SHARED = "h0", "c0", "peephole"


def state_dtype(dtype: torch.dtype) -> torch.dtype:
    """Returns the dtype of the cell state, and of the gradients of initial states and peepholes."""
    return torch.promote_types(dtype, torch.float32)


def gates_dtype(dtype: torch.dtype) -> torch.dtype:
    """Returns the dtype of the activated gates: float16 in place of bfloat16, as it is more precise in (-1, 1)."""
    return torch.float16 if dtype == torch.bfloat16 else dtype


class Scan(NamedTuple):
    """Arguments of ``scan``. The operator checks that ``x``, ``input`` or both are present."""

    input: Tensor | None
    weight_ih: Tensor | None
    bias: Tensor | None
    x: Tensor | None
    weight_hh: Tensor
    h0: Tensor | None
    c0: Tensor | None
    peephole: Tensor | None
    sizes: Tensor | None
    corners: Sequence[int]
    diagonal: bool
    input_kernel: int
    cell: str
    merge: str
    path: str = "auto"
    tf32: bool = False

    @property
    def operands(self) -> dict[str, Tensor]:
        return {name: t for name, t in zip(OPERANDS, self) if isinstance(t, Tensor)}

    def with_operands(self, operands: dict[str, Tensor]) -> "Scan":
        return self._replace(**operands)  # type: ignore[arg-type]  # every name is one of OPERANDS

    @property
    def size(self) -> tuple[int, int, int]:
        """The number of images, and the height and width of their maps."""
        if self.x is not None:
            return tuple(self.x.shape[1:4])  # type: ignore[return-value]
        assert self.input is not None  # checked by the operator
        return tuple(self.input.shape[:3])  # type: ignore[return-value]

    def new_outputs(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Returns uninitialised maps (y, h, c, gates)."""
        directions, images, height, width, columns = self.shapes["x"]
        hidden, empty, dtype = self.weight_hh.shape[2], self.weight_hh.new_empty, self.weight_hh.dtype
        return (
            empty(images, height, width, hidden if self.merges else 0),
            empty(images, height, width, directions, hidden),
            empty(directions, images, height, width, hidden, dtype=state_dtype(dtype)),
            empty(directions, images, height, width, columns, dtype=gates_dtype(dtype)),
        )

    @property
    def merges(self) -> bool:
        return self.merge != "none"

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each operand and its gradient. An absent operand has 0 channels or taps."""
        directions, taps, hidden, _, _ = self.weight_hh.shape
        gates, (images, height, width) = len(CELLS[self.cell].gates), self.size
        channels = 0 if self.input is None else self.input.shape[3]
        input_taps = 0 if self.weight_ih is None else self.weight_ih.shape[1]
        return {
            "input": (images, height, width, channels),
            "weight_ih": (directions, input_taps, hidden, gates, channels),
            "bias": (directions, hidden, gates),
            "x": (directions, images, height, width, gates * hidden),
            "weight_hh": (directions, taps, hidden, gates, hidden),
            "h0": (directions, hidden),
            "c0": (directions, hidden),
            "peephole": (directions, 4, hidden),
        }


class Gradients(NamedTuple):
    """Arguments of ``scan_gradients``: the outputs that the scan saved, which gradients are wanted, and the scan.

    ``dh`` is the gradient with respect to y if the scan merges its directions, else with respect to h. The gradients of
    :data:`SHARED` are sums over the images. If ``shares``, they are separate for each image, [D, B, ...].
    """

    dh: Tensor
    h: Tensor
    c: Tensor
    gates: Tensor
    wanted: Sequence[bool]
    shares: bool
    scan: Scan

    @classmethod
    def bind(cls, *args: Any) -> "Gradients":
        """Builds the tuple from the operator's flat arguments, or from the batch dimension of each argument."""
        dh, h, c, gates, wanted, shares, *scan = args
        return cls(dh, h, c, gates, wanted, shares, Scan(*scan))

    @property
    def flat(self) -> tuple[Any, ...]:
        return (*self[:-1], *self.scan)

    def wants(self, operand: str) -> bool:
        """Returns whether a gradient is wanted and exists. The gradient of ``x`` exists even where ``x`` is absent."""
        return self.wanted[OPERANDS.index(operand)] and (operand == "x" or operand in self.scan.operands)

    def gradient_shape(self, operand: str) -> tuple[int, ...]:
        directions, *rest = self.scan.shapes[operand]
        return (directions, self.scan.size[0], *rest) if self.shares and operand in SHARED else (directions, *rest)

    def outputs(self, grads: dict[str, Tensor]) -> tuple[Tensor, ...]:
        """Returns the operator's outputs from the wanted gradients. Every other gradient has a last axis of size 0."""
        return tuple(grads[name] if self.wants(name) else self.new_gradient(name) for name in OPERANDS)

    def new_gradient(self, operand: str) -> Tensor:
        """Returns an uninitialised gradient, or an empty one if it is not wanted."""
        shape, like = self.gradient_shape(operand), self.scan.weight_hh
        dtype = state_dtype(like.dtype) if operand in SHARED else like.dtype
        return like.new_empty(shape if self.wants(operand) else (*shape[:-1], 0), dtype=dtype)
