"""Packs the parameters of several recurrent layers at once, as the operators on a GPU read them.

A layer alone stacks and reorders each of its parameters, and its gradients in the backward, by an operator of torch.
Here one operator reorders all parameters of all layers, so torch dispatches five operators instead of dozens.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...directions import Direction2d
from ...masks import masked_weight, removes_nothing


class Packed(NamedTuple):
    """Operands of a scan (arguments.py) that are parameters of its layer."""

    weight_ih: Tensor
    weight_hh: Tensor
    bias: Tensor | None = None
    h0: Tensor | None = None
    c0: Tensor | None = None
    peephole: Tensor | None = None

    def to(self, dtype: torch.dtype) -> "Packed":
        return Packed(*(None if t is None else t.to(dtype) for t in self))  # type: ignore[arg-type]


class Masking(NamedTuple):
    """The arguments of :func:`pixelrnn_ext.masks.masked_weight` for ``weight_ih``, and the number of gates."""

    mask_type: str | None
    image_channels: int
    gates: int


def operands(directions: Sequence[Direction2d], masking: Masking) -> Packed:
    """Returns the operands of one layer.

    If there is one direction, they are views, except a masked weight_ih. Otherwise they are stacked copies.
    """
    mask_type, image_channels, gates = masking
    first = directions[0]
    kernel, hidden = first.weight_ih.shape[3], first.weight_hh.shape[1]
    live_taps = kernel if mask_type is None else kernel // 2 + 1  # a mask removes the taps right of the centre
    weight_ih = _stacked([d.weight_ih for d in directions])
    weight_ih = masked_weight(weight_ih, mask_type, image_channels=image_channels, gates=gates).squeeze(3)
    weight_hh = _stacked([d.weight_hh for d in directions])

    def optional(name: str, *size: int) -> Tensor | None:
        """Returns a parameter of all directions, zero where it is missing, or None if it is missing in all."""
        tensors = [getattr(d, name) for d in directions]
        if all(t is None for t in tensors):
            return None
        return _stacked([weight_hh.new_zeros(size) if t is None else t for t in tensors])

    bias = optional("bias", gates * hidden)
    return Packed(
        weight_ih=_unit_major(weight_ih.narrow(3, 0, live_taps) if live_taps < kernel else weight_ih, gates),
        weight_hh=_unit_major(weight_hh, gates),
        bias=None if bias is None else bias.unflatten(1, (gates, hidden)).transpose(1, 2),
        h0=optional("h0", hidden),
        c0=optional("c0", hidden),
        peephole=optional("peephole", 4, hidden),
    )


class _Reorder(torch.autograd.Function):
    """Returns values in another order. torch's own backward would zero a tensor first, and add with atomics."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(order, inverse)
        return values.index_select(0, order)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        order, inverse = ctx.saved_tensors
        return _Reorder.apply(gradient, inverse, order), None, None


class Packer:
    """Packs the parameters of ``layers``, which are lists of their directions' parameters.

    The order of the packed values is computed once, for parameters of the same shapes on the same device.
    """

    def __init__(self, layers: Sequence[Sequence[Direction2d]], maskings: Sequence[Masking]) -> None:
        parameters = _parameters(layers)
        numbers = torch.arange(sum(t.numel() for t in parameters)).split([t.numel() for t in parameters])
        values = iter([n.view(t.shape) for n, t in zip(numbers, parameters)])
        layers_of_numbers = [
            [Direction2d(*(None if t is None else next(values) for t in d)) for d in layer]  # type: ignore[arg-type]
            for layer in layers
        ]
        orders: list[Tensor] = []
        live: list[Tensor] = []
        dead: list[Tensor] = []
        self._parts: list[tuple[torch.Size, bool] | None] = []
        for layer, masking in zip(layers_of_numbers, maskings):
            ones = [Direction2d(*(None if t is None else torch.ones_like(t) for t in d)) for d in layer]  # type: ignore[arg-type]
            packed = operands(layer, masking._replace(mask_type=None))
            masks = operands(ones, masking)
            # A mask removes the last taps, so they are no part of the operand.
            live_taps = masks.weight_ih.shape[1]
            dead.append(packed.weight_ih[:, live_taps:].flatten())
            packed = packed._replace(weight_ih=packed.weight_ih[:, :live_taps])
            for name, part, mask in zip(Packed._fields, packed, masks):
                self._parts.append(None if part is None else (_in_memory(part, name).shape, name == "weight_ih"))
                if part is not None and mask is not None:
                    orders.append(_in_memory(part, name).flatten())
                    live.append(_in_memory(mask, name).flatten())
        device = parameters[0].device
        masks_some = any(
            m.mask_type is not None and not removes_nothing(layer[0].weight_ih, m.mask_type, m.image_channels)
            for layer, m in zip(layers, maskings)
        )
        # The taps that a mask removes come last, so that the order is a permutation.
        if any(part.numel() for part in dead):
            orders.append(torch.cat(dead))
            live.append(torch.ones_like(orders[-1]))
        self._sizes = [order.numel() for order in orders]
        order = torch.cat(orders)
        self._order = order.to(device)
        self._inverse = order.argsort().to(device)
        self._mask: Tensor | None = torch.cat(live).bool().to(device) if masks_some else None

    def __call__(self, layers: Sequence[Sequence[Direction2d]], dtype: torch.dtype) -> list[Packed]:
        """Returns the operands of each layer in ``dtype``. Masked weights are 0, even if a parameter is NaN."""
        values = torch.cat([t.flatten() for t in _parameters(layers)]).to(dtype)
        values = _Reorder.apply(values, self._order, self._inverse)
        if self._mask is not None:
            values = torch.where(self._mask, values, 0)
        pieces = iter(values.split(self._sizes))
        parts: list[Tensor | None] = []
        for part in self._parts:
            view = None if part is None else next(pieces).view(part[0])
            parts.append(view.permute(0, 1, 3, 4, 2) if view is not None and part and part[1] else view)
        fields = len(Packed._fields)
        return [Packed(*parts[i : i + fields]) for i in range(0, len(parts), fields)]  # type: ignore[arg-type]


def _parameters(layers: Iterable[Iterable[Direction2d]]) -> list[Tensor]:
    return [t for layer in layers for direction in layer for t in direction if t is not None]


def _in_memory(operand: Tensor, name: str) -> Tensor:
    """Returns an operand with its axes in the order of the packed memory.

    The channels of weight_ih come before its gates, as in the matrices of the input-to-state product.
    """
    return operand.permute(0, 1, 4, 2, 3) if name == "weight_ih" else operand


def _stacked(tensors: list[Tensor]) -> Tensor:
    return tensors[0].unsqueeze(0) if len(tensors) == 1 else torch.stack(tensors)


def _unit_major(weights: Tensor, gates: int) -> Tensor:
    """Returns [directions, taps, hidden, gates, channels] of (directions, gates * hidden, channels, taps)."""
    return weights.unflatten(1, (gates, -1)).permute(0, 4, 2, 1, 3)
