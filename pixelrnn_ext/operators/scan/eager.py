"""The scan operators in differentiable PyTorch.

The module reference.py computes the scan. This module converts tensors to the layouts of reference.py, and converts
16-bit maps to float32.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ... import directions, reference
from ...directions import CORNERS
from .arguments import OPERANDS, SHARED, Gradients, Scan, gates_dtype, state_dtype
from .products import pack_gates, unpack_gates
from .sizes import Images, fill_outside

Outputs = tuple[Tensor, Tensor, Tensor, Tensor]


def scan(s: Scan) -> Outputs:
    return _scan(_expand_shared(s))


def scan_gradients(g: Gradients) -> tuple[Tensor, ...]:
    """Runs the scan again, so that second derivatives depend on the operands alone, not on saved outputs."""
    cotangents = (g.dh, None, None, None) if g.scan.merges else (None, g.dh, None, None)
    grads = operand_gradients(cotangents, g.scan, g.wanted)
    return g.outputs(grads if g.shares else {name: t.sum(1) if name in SHARED else t for name, t in grads.items()})


def operand_gradients(cotangents: Sequence[Tensor | None], s: Scan, wanted: Sequence[bool]) -> dict[str, Tensor]:
    """Returns the wanted gradients of a scan's operands, by name.

    ``cotangents`` are the gradients of y, h, c and the gates, or None. The gradients of h0, c0 and peephole have an
    axis of images.
    """
    s, wants = _expand_shared(s), dict(zip(OPERANDS, wanted))
    if wants["x"] and s.x is None:
        s = s._replace(x=s.weight_hh.new_zeros(s.shapes["x"]))
    operands = {name: t for name, t in s.operands.items() if wants[name]}
    if not operands:
        return {}

    def outputs(operands: dict[str, Tensor]) -> list[Tensor]:
        results = _scan(s.with_operands(operands))
        return [result for result, cotangent in zip(results, cotangents) if cotangent is not None]

    _, pull_back = torch.func.vjp(outputs, operands)[:2]
    return pull_back([cotangent for cotangent in cotangents if cotangent is not None])[0]


def _expand_shared(s: Scan) -> Scan:
    """Expands h0, c0 and peephole, so that each image has its own gradients."""
    images, wide = s.size[0], state_dtype(s.weight_hh.dtype)
    shared = {name: t.to(wide).unsqueeze(1) for name, t in s.operands.items() if name in SHARED}
    return s.with_operands({name: t.expand(-1, images, *t.shape[2:]) for name, t in shared.items()})


def _scan(s: Scan) -> Outputs:
    if 0 in s.size[1:]:
        return s.new_outputs()  # reference.py would fail on a map without pixels
    dtype = s.weight_hh.dtype
    s = s.with_operands({name: t.to(state_dtype(dtype)) for name, t in s.operands.items()})
    images = Images(s.sizes, (s.input if s.input is not None else s.x[0]).permute(0, 3, 1, 2))  # type: ignore[index]
    maps = [_direction(s, images, d, list(CORNERS)[corner]) for d, corner in enumerate(s.corners)]
    h, c, gates = map(torch.stack, zip(*maps))
    h = h.permute(1, 3, 4, 0, 2)
    y = merge_directions(h, s)
    c, gates = (m.permute(0, 1, 3, 4, 2) for m in (c, gates))
    gates = pack_gates(gates.unflatten(-1, (-1, s.weight_hh.shape[2])).transpose(-1, -2))
    return y.contiguous().to(dtype), h.contiguous().to(dtype), c.contiguous(), gates.contiguous().to(gates_dtype(dtype))


def merge_directions(h: Tensor, s: Scan) -> Tensor:
    """Merges h [B, H, W, D, hidden] into one map, which is zero outside the images."""
    if not s.merges:
        return h.new_empty(*h.shape[:3], 0)
    y = directions.merged(h.permute(0, 3, 4, 1, 2), s.merge).permute(0, 2, 3, 1)
    # "shift" moves an image's last row below the image, where the map must be zero.
    return fill_outside(y, s.sizes, 0) if s.merge == "shift" else y


def _direction(s: Scan, images: Images, d: int, corner: str) -> tuple[Tensor, ...]:
    """Returns h, c and the activated gates, each (N, channels, H, W)."""
    x = None
    if s.weight_ih is not None:
        # conv2d takes (G * h, channels, 1, taps).
        kernel = s.weight_ih[d].permute(2, 1, 3, 0).flatten(0, 1).unsqueeze(2)
        kernel = F.pad(kernel, (0, s.input_kernel - kernel.shape[3]))
        x = F.conv2d(images.flipped(images.maps, corner), kernel, padding=(0, s.input_kernel // 2))
    if s.x is not None:
        # Puts the gates before the hidden units, as in reference.py.
        blocks = unpack_gates(s.x[d], s.weight_hh.shape[2]).transpose(-1, -2).flatten(-2)
        added = images.flipped(images.clear_outside(blocks.permute(0, 3, 1, 2)), corner)
        x = added if x is None else x + added
    assert x is not None
    if s.bias is not None:
        x = x + s.bias[d].t().flatten()[:, None, None]
    # reference.py takes (G * h, h, taps).
    weight = s.weight_hh[d].permute(2, 1, 3, 0).flatten(0, 1)
    h0, c0 = (None if t is None else t[d].unsqueeze(1) for t in (s.h0, s.c0))
    if s.diagonal:
        peephole = None if s.peephole is None else s.peephole[d].transpose(0, 1).unsqueeze(2)
        maps = reference.diagonal_maps(x, weight, h0, c0, peephole, cell=s.cell, inside=images.inside)
    else:
        maps = reference.row_maps(x, weight, h0, c0, inside=images.inside)
    return tuple(images.clear_outside(images.flipped(m, corner)) for m in maps)
