"""Runs a recurrent layer on the requested backend."""

import torch
from torch import Tensor

from ... import reference
from ...directions import CORNERS, merged
from ...masks import masked_weight
from .. import backends
from ..autocast import result_dtype, without_autocast
from ..precision import allows_tf32
from . import eager
from .arguments import Scan
from .problem import Problem
from .products import pack_gates

_NATIVE_MERGES = "shift", "sum"


def run(problem: Problem, backend: str) -> Tensor:
    problem.check()
    path = backends.choose(backend, problem.input.device)
    device, dtype = problem.input.device.type, result_dtype(problem.input)
    # Only the CUDA kernels take 16-bit maps, so all other code gets float32 or wider.
    problem = problem.to(dtype if path and device == "cuda" else torch.promote_types(dtype, torch.float32))
    with without_autocast(device):
        if backend == "reference":
            named = problem._asdict() | {"cell": problem.cell or "pixelrnn"}
            return reference.scan(**named).to(dtype)
        scan = scan_arguments(problem, path or "auto")
        y, h, _, _ = eager.scan(scan) if path is None else torch.ops.pixelrnn_ext.scan(*scan)
        if scan.merges:
            return y.permute(0, 3, 1, 2).to(dtype)
        return merged(h.permute(0, 3, 4, 1, 2), problem.merge).to(dtype)


def scan_arguments(p: Problem, path: str) -> Scan:
    """Returns the scan operator's arguments for a call of a layer.

    The weights of one direction are views, except a masked weight_ih.
    """
    directions, gates, hidden = p.directions, p.gates, p.hidden
    kernel = directions[0].weight_ih.shape[3]
    live_taps = kernel if p.mask_type is None else kernel // 2 + 1  # a mask removes the taps right of the centre
    weight_ih = _stacked([d.weight_ih for d in directions])
    weight_ih = masked_weight(weight_ih, p.mask_type, image_channels=p.image_channels, gates=gates).squeeze(3)
    weight_hh = _stacked([d.weight_hh for d in directions])
    x = None if p.gate_bias is None else p.gate_bias.unflatten(1, (len(directions), gates, hidden))

    def optional(name: str, *size: int) -> Tensor | None:
        """Returns None if no direction has the parameter. A direction that lacks it gets zeros."""
        tensors = [getattr(d, name) for d in directions]
        if all(t is None for t in tensors):
            return None
        return _stacked([weight_hh.new_zeros(size) if t is None else t for t in tensors])

    bias = optional("bias", gates * hidden)
    return Scan(
        input=p.input.permute(0, 2, 3, 1),
        weight_ih=_unit_major(weight_ih.narrow(3, 0, live_taps) if live_taps < kernel else weight_ih, gates),
        bias=None if bias is None else bias.unflatten(1, (gates, hidden)).transpose(1, 2),
        x=None if x is None else pack_gates(x.permute(1, 0, 4, 5, 3, 2)),
        weight_hh=_unit_major(weight_hh, gates),
        h0=optional("h0", hidden),
        c0=optional("c0", hidden),
        peephole=optional("peephole", 4, hidden),
        sizes=None if p.sizes is None else p.sizes.to(p.input.device, torch.int64),
        corners=[list(CORNERS).index(corner) for corner in p.corners],
        diagonal=p.diagonal,
        input_kernel=kernel,
        cell=p.cell or "pixelrnn",
        merge=p.merge if p.merge in _NATIVE_MERGES else "none",
        path=path,
        tf32=p.input.is_cuda and allows_tf32(),
    )


def _stacked(tensors: list[Tensor]) -> Tensor:
    return tensors[0].unsqueeze(0) if len(tensors) == 1 else torch.stack(tensors)


def _unit_major(weights: Tensor, gates: int) -> Tensor:
    """Turns weights [directions, gates * hidden, channels, taps] into [directions, taps, hidden, gates, channels]."""
    return weights.unflatten(1, (gates, -1)).permute(0, 4, 2, 1, 3)
