"""A two-dimensional LSTM by the backend that was asked for."""

from collections.abc import Callable

import torch
from torch import Tensor

from ... import reference
from ...directions import CORNERS, merged
from .. import backends
from ..autocast import result_dtype, without_autocast
from ..operands import stacked, together
from ..precision import allows_tf32
from ..recurrence.run import unit_major
from . import eager
from .scan import Scan2d

_PLACES = {corner: place for place, corner in enumerate(CORNERS)}


def run_lstm2d(scan: Scan2d, backend: str) -> Tensor:
    """The maps of all directions, merged."""
    scan.check()
    path = backends.choose(backend, scan.input.device)
    device, dtype = scan.input.device.type, result_dtype(scan.input)
    # The CUDA kernels store halves and compute in float32; elsewhere halves are computed as float32 maps.
    scan = scan.to(dtype if path and device == "cuda" else torch.promote_types(dtype, torch.float32))
    with without_autocast(device):
        if backend == "reference":
            y = _by_reference(scan)
        else:  # without kernels by the operator's decomposition, which does not wait for a GPU to read sizes
            operator = eager.lstm2d_scan if path is None else torch.ops.pixelrnn_ext.lstm2d_scan
            y = _by_operator(scan, operator, path or "auto")
        return y.to(dtype)


def _by_reference(scan: Scan2d) -> Tensor:
    return reference.lstm2d(
        scan.input, scan.directions, cell=scan.cell, corners=scan.corners, sizes=scan.sizes, merge=scan.merge
    )


def _by_operator(scan: Scan2d, operator: Callable[..., tuple[Tensor, Tensor, Tensor]], path: str) -> Tensor:
    directions, hidden = scan.directions, scan.hidden
    weight_hh = together([d.weight_hh for d in directions])
    bias = stacked([d.bias for d in directions], weight_hh, scan.gates * hidden)
    h, _, _ = operator(
        scan.input.permute(0, 2, 3, 1),
        unit_major(together([d.weight_ih for d in directions]).squeeze(3), scan.gates),
        unit_major(weight_hh, scan.gates),
        None if bias is None else bias.unflatten(1, (scan.gates, hidden)).transpose(1, 2),
        stacked([d.h0 for d in directions], weight_hh, hidden),
        stacked([d.c0 for d in directions], weight_hh, hidden),
        stacked([d.peephole for d in directions], weight_hh, 4, hidden),
        None if scan.sizes is None else scan.sizes.to(scan.input.device, torch.int64),
        [_PLACES[corner] for corner in scan.corners],
        scan.cell,
        path,
        scan.input.is_cuda and allows_tf32(),
    )
    return merged(h.permute(0, 3, 4, 1, 2), scan.merge)
