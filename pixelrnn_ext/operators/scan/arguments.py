"""The arguments of ``torch.ops.pixelrnn_ext.scan`` and ``scan_gradients``, in the order of the operators' schemas.

csrc/operators/arguments.h and scan.cpp describe the arguments, and the letters in shapes.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...cells import CELLS

# The differentiable arguments, which come first in the schema.
OPERANDS = "input", "weight_ih", "bias", "x", "weight_hh", "h0", "c0", "peephole"
# Operands whose gradients can be returned separately for each image.
SHARED = "h0", "c0", "peephole"


def state_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype of the cell state, and of gradients of initial states and peepholes."""
    return torch.promote_types(dtype, torch.float32)


def gates_dtype(dtype: torch.dtype) -> torch.dtype:
    """float16 is more precise than bfloat16 for activated gates, which lie in [-1, 1]."""
    return torch.float16 if dtype == torch.bfloat16 else dtype


class Scan(NamedTuple):
    """The arguments of the operator ``scan``, which needs ``x``, ``input`` or both."""

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
        return self._replace(**operands)  # type: ignore[arg-type]  # the names are those of fields

    @property
    def size(self) -> tuple[int, int, int]:
        if self.x is not None:
            return tuple(self.x.shape[1:4])  # type: ignore[return-value]
        assert self.input is not None
        return tuple(self.input.shape[:3])  # type: ignore[return-value]

    def new_outputs(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
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
        """The shapes of the operands and their gradients.

        An absent input has 0 channels, and an absent weight_ih has 0 taps.
        """
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
    """The arguments of the operator ``scan_gradients``.

    ``dh`` is the gradient of the merged map y if the scan merges its directions, otherwise of h. If ``shares`` is True,
    h0, c0 and the peepholes have a gradient for each image, [D, B, ...], otherwise a sum over the images.
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
        """Groups the operator's flat list of arguments.

        Under torch.vmap, also groups the flat list of the arguments' batch dimensions.
        """
        dh, h, c, gates, wanted, shares, *scan = args
        return cls(dh, h, c, gates, wanted, shares, Scan(*scan))

    @property
    def flat(self) -> tuple[Any, ...]:
        return (*self[:-1], *self.scan)

    def wants(self, operand: str) -> bool:
        """An absent ``x`` has a gradient, too: that of the gates' pre-activations."""
        return self.wanted[OPERANDS.index(operand)] and (operand == "x" or operand in self.scan.operands)

    def gradient_shape(self, operand: str) -> tuple[int, ...]:
        directions, *rest = self.scan.shapes[operand]
        return (directions, self.scan.size[0], *rest) if self.shares and operand in SHARED else (directions, *rest)

    def outputs(self, grads: dict[str, Tensor]) -> tuple[Tensor, ...]:
        """A gradient that is not wanted is an empty tensor."""
        return tuple(grads[name] if self.wants(name) else self.new_gradient(name) for name in OPERANDS)

    def new_gradient(self, operand: str) -> Tensor:
        shape, like = self.gradient_shape(operand), self.scan.weight_hh
        dtype = state_dtype(like.dtype) if operand in SHARED else like.dtype
        return like.new_empty(shape if self.wants(operand) else (*shape[:-1], 0), dtype=dtype)
