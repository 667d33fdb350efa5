"""The order of the rows of gates.

A layer's weights have a block of ``hidden`` rows for each gate. Kernels have ``[hidden][4]``, then ``[hidden]``: the
first four gates of a unit next to each other, as in the other recurrences, then the fifth one of all units, where the
cell has one.
"""

import torch
from torch import Tensor


def by_unit(rows: Tensor, gates: int, axis: int) -> Tensor:
    """The rows along an axis in the order of kernels, from that of a layer."""
    return _transposed(rows, gates, axis, 4, rows.shape[axis] // gates)


def by_gate(rows: Tensor, gates: int, axis: int) -> Tensor:
    """The inverse of :func:`by_unit`."""
    return _transposed(rows, gates, axis, rows.shape[axis] // gates, 4)


def _transposed(rows: Tensor, gates: int, axis: int, outer: int, inner: int) -> Tensor:
    four = rows.narrow(axis, 0, outer * inner).unflatten(axis, (outer, inner))
    four = four.transpose(axis, axis + 1).flatten(axis, axis + 1)
    if gates == 4:
        return four
    return torch.cat([four, rows.narrow(axis, outer * inner, rows.shape[axis] - outer * inner)], axis)
