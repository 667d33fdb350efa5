"""A two-dimensional LSTM by the backend that was asked for."""

import torch
from torch import Tensor

from ... import reference
from ...directions import merged
from .. import backends
from ..autocast import result_dtype, without_autocast
from ..operands import stacked, together
from ..recurrence.run import computing_dtype
from .eager import lstm2d_scan
from .rows import by_unit
from .scan import Scan2d
from .sizes import inside


def run_lstm2d(scan: Scan2d, backend: str) -> Tensor:
    """The maps of all directions, merged."""
    scan.check()
    path = _path(backend)
    device, dtype = scan.input.device.type, result_dtype(scan.input)
    scan = scan.to(computing_dtype(dtype, device, path))
    with without_autocast(device):
        y = _by_reference(scan) if path is None else by_operator(scan, path)
        return y.to(dtype)


def _path(backend: str) -> str | None:
    """As :func:`pixelrnn_ext.operators.backends.choose`, of a recurrence that has no kernels yet."""
    backends.check_name(backend)
    if backend in ("auto", "reference"):
        return None
    raise RuntimeError(f"backend={backend!r} cannot run: the two-dimensional LSTM has no kernels, only its reference")


def _by_reference(scan: Scan2d) -> Tensor:
    return reference.lstm2d(
        scan.input, scan.directions, cell=scan.cell, corners=scan.corners, sizes=scan.sizes, merge=scan.merge
    )


def by_operator(scan: Scan2d, path: str) -> Tensor:
    """The input's product by torch, then the scan, both of all directions, then the merge."""
    directions, hidden, gates = scan.directions, scan.hidden, scan.gates
    n, channels, height, width = scan.input.shape
    weight_ih = by_unit(together([d.weight_ih.flatten(1) for d in directions]), gates, 1)  # [D, G h, C]
    weight_hh = by_unit(together([d.weight_hh for d in directions]), gates, 1)  # [D, G h, h, taps]
    bias = stacked([d.bias for d in directions], weight_ih, gates * hidden)
    # What is outside an image may be NaN, and the weight's gradient multiplies it by zero.
    input = scan.input if scan.sizes is None else torch.where(inside(scan.sizes, scan.input), scan.input, 0)
    pixels = input.permute(0, 2, 3, 1).reshape(1, n * height * width, channels).expand(len(directions), -1, -1)
    matrices = weight_ih.transpose(1, 2)
    if bias is None:
        x = torch.bmm(pixels, matrices)
    else:
        x = torch.baddbmm(by_unit(bias, gates, 1).unsqueeze(1), pixels, matrices)
    h = lstm2d_scan(
        x.view(len(directions), n, height, width, gates * hidden),
        weight_hh.permute(0, 3, 1, 2),
        stacked([d.h0 for d in directions], weight_hh, hidden),
        stacked([d.c0 for d in directions], weight_hh, hidden),
        stacked([d.peephole for d in directions], weight_hh, 4, hidden),
        scan.sizes,
        scan.cell,
        scan.corners,
        path,
    )
    return merged(h.permute(0, 3, 4, 1, 2), scan.merge)
