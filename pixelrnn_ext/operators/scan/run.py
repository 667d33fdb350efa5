"""Runs a recurrent layer on the requested backend."""

import torch
from torch import Tensor

from ... import reference
from ...directions import CORNERS, merged
from .. import backends
from ..autocast import result_dtype, without_autocast
from ..precision import allows_tf32
from . import eager
from .arguments import Scan
from .packing import Masking, operands
from .problem import Problem
from .products import pack_gates

_NATIVE_MERGES = "shift", "sum"


def run(problem: Problem, backend: str) -> Tensor:
    problem.check()
    path = backends.choose(backend, problem.input.device)
    device, dtype = problem.input.device.type, result_dtype(problem.input)
    # Plain PyTorch gets float32 or wider.
    problem = problem.to(backends.kernel_dtype(device, dtype) if path else torch.promote_types(dtype, torch.float32))
    with without_autocast(device):
        if backend == "reference":
            named = problem._asdict() | {"cell": problem.cell or "pixelrnn"}
            del named["packed"]
            return reference.scan(**named).to(dtype)
        scan = scan_arguments(problem, path or "auto")
        y, h, _, _ = eager.scan(scan) if path is None else torch.ops.pixelrnn_ext.scan(*scan)
        if scan.merges:
            return y.permute(0, 3, 1, 2).to(dtype)
        return merged(h.permute(0, 3, 4, 1, 2), problem.merge).to(dtype)


def scan_arguments(p: Problem, path: str) -> Scan:
    """Returns the scan operator's arguments for a call of a layer."""
    directions, gates, hidden = p.directions, p.gates, p.hidden
    packed = p.packed or operands(directions, Masking(p.mask_type, p.image_channels, gates))
    x = None if p.gate_bias is None else p.gate_bias.unflatten(1, (len(directions), gates, hidden))
    return Scan(
        input=p.input.permute(0, 2, 3, 1),
        x=None if x is None else pack_gates(x.permute(1, 0, 4, 5, 3, 2)),
        **packed._asdict(),
        sizes=None if p.sizes is None else p.sizes.to(p.input.device, torch.int64),
        corners=[list(CORNERS).index(corner) for corner in p.corners],
        diagonal=p.diagonal,
        input_kernel=directions[0].weight_ih.shape[3],
        cell=p.cell or "pixelrnn",
        merge=p.merge if p.merge in _NATIVE_MERGES else "none",
        path=path,
        tf32=p.input.is_cuda and allows_tf32("rnn"),
    )
