"""A recurrence by the backend that was asked for: the operator ``line_scan`` or ``bilstm_scan``, or the reference."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ... import reference
from ...masks import masked_weight
from .. import backends
from ..autocast import result_dtype, without_autocast
from ..operands import stacked, together
from ..precision import allows_tf32
from .scan import Scan


def run_scan(scan: Scan, backend: str) -> Tensor:
    """The map of the one direction, or of the two: the second one is shifted down and added."""
    scan.check()
    path = backends.choose(backend, scan.input.device)
    device, dtype = scan.input.device.type, result_dtype(scan.input)
    # The CUDA kernels store halves and compute in float32; elsewhere halves are computed as float32 maps.
    scan = scan.to(dtype if path and device == "cuda" else torch.promote_types(dtype, torch.float32))
    with without_autocast(device):
        y = _by_reference(scan) if path is None else _by_operator(scan, path)
        return y.to(dtype)


def _by_reference(scan: Scan) -> Tensor:
    count, mask_type, colours = len(scan.directions), scan.mask_type, scan.image_channels
    biases: Sequence[Tensor | None] = [None] * count if scan.gate_bias is None else scan.gate_bias.chunk(count, dim=1)
    if not scan.diagonal:
        row = reference.row_lstm
        return row(scan.input, *scan.directions[0], mask_type=mask_type, image_channels=colours, gate_bias=biases[0])
    y, *right = (
        reference.diagonal_lstm(scan.input, *d, mask_type=mask_type, image_channels=colours, gate_bias=b, reverse=way)
        for d, b, way in zip(scan.directions, biases, (scan.reverse, not scan.reverse))
    )
    for m in right:
        y = y + F.pad(m[:, :, :-1], (0, 0, 1, 0))
    return y


def _by_operator(scan: Scan, path: str) -> Tensor:
    directions, hidden = scan.directions, scan.hidden
    kernel = directions[0].weight_ih.shape[3]
    live = kernel if scan.mask_type is None else kernel // 2 + 1  # the mask removes the taps to the right

    weight_ih = together([d.weight_ih for d in directions])
    weight_ih = masked_weight(weight_ih, scan.mask_type, image_channels=scan.image_channels, gates=4).squeeze(3)
    if live < kernel:
        weight_ih = weight_ih.narrow(3, 0, live)
    weight_hh = together([d.weight_hh for d in directions])
    bias = stacked([d.bias for d in directions], weight_hh, 4 * hidden)
    x = None
    if scan.gate_bias is not None:
        x = scan.gate_bias.unflatten(1, (len(directions), 4, hidden)).permute(1, 0, 4, 5, 3, 2)
    scan_all = torch.ops.pixelrnn_ext.line_scan if len(directions) == 1 else torch.ops.pixelrnn_ext.bilstm_scan
    y, *_ = scan_all(
        x,
        unit_major(weight_hh),
        stacked([d.h0 for d in directions], weight_hh, hidden),
        stacked([d.c0 for d in directions], weight_hh, hidden),
        scan.input.permute(0, 2, 3, 1),
        unit_major(weight_ih),
        None if bias is None else bias.unflatten(1, (4, hidden)).transpose(1, 2),
        kernel,
        scan.diagonal,
        scan.reverse,
        path,
        scan.input.is_cuda and allows_tf32(),
    )
    return (y.squeeze(0) if len(directions) == 1 else y).permute(0, 3, 1, 2)


def unit_major(weights: Tensor, gates: int = 4) -> Tensor:
    """(directions, gates * hidden, channels, taps) -> [directions, taps, hidden, gates, channels], a view."""
    return weights.unflatten(1, (gates, -1)).permute(0, 4, 2, 1, 3)
