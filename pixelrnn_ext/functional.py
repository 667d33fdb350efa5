"""The layers as functions: Row LSTM, Diagonal LSTM and masked convolution of "Pixel Recurrent Neural Networks" (arXiv
1601.06759).

All maps are (N, C, H, W), inputs of any strides. The gates of the recurrences are in the order i, f, g, o of torch.nn.LSTM, and their
result is in channels_last memory format from the native backend, which computes in that layout; a masked convolution keeps the format of
its input. float32 and float64 are computed as they are (float32 in tf32 on a GPU where torch's own matrix products may). float16 and bfloat16 are computed in float32 and
returned in their own dtype; the CUDA kernels store maps and weights in it and keep the cell state and all sums in float32.
Under autocast the result has the autocast dtype, as that of a convolution has, and is computed as an input of that dtype is.
"""

from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from . import reference
from ._arguments import check_dtype, integer, integers
from .masks import MASK_TYPES, check_colour_groups, masked_weight, removes_nothing
from .operators import backends, masked_conv, recurrence  # noqa: F401  (the two families register their operators)
from .operators.autocast import autocasts, without_autocast
from .operators.precision import allows_tf32


def row_lstm(
    input: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor | None = None,
    h0: Tensor | None = None,
    c0: Tensor | None = None,
    *,
    mask_type: str | None = None,
    image_channels: int = 1,
    gate_bias: Tensor | None = None,
    backend: str = "auto",
) -> Tensor:
    """Row LSTM (section 3.2): the map is swept top to bottom, every pixel reads a row of pixels above it.

    ::

        [i f g o](r, c) = sum_j weight_ih_j input(r, c + j - k//2) + bias + gate_bias(r, c)
                          + sum_j weight_hh_j h(r - 1, c + j - k//2)
        c(r, c) = f * c(r - 1, c) + i * g,   h(r, c) = o * tanh(c(r, c))        (eq. 3)

    Args:
        input: (N, in_channels, H, W).
        weight_ih: (4 * hidden, in_channels, 1, k), k odd.
        weight_hh: (4 * hidden, hidden, taps), the taps from left to right in the row above, an odd number.
        bias: (4 * hidden,).
        h0, c0: (hidden,), the state of every cell outside the image; None is zero.
        mask_type: ``"A"`` or ``"B"`` masks ``weight_ih`` (section 3.4); None leaves it unmasked.
        image_channels: colours that the channels are divided into, for the mask.
        gate_bias: broadcastable to (N, 4 * hidden, H, W), added to the input-to-state map (section 3.6).
        backend: ``"native"``, ``"reference"``, or ``"auto"``: native where it runs. On a GPU also ``"step"`` (a matrix product
            and a kernel for every line) or ``"resident"`` (one launch for the whole scan), between which native chooses.

    Returns:
        h, (N, hidden, H, W), of the dtype of ``input``.

    Raises:
        TypeError: a tensor is not floating point, or dtypes are mixed outside autocast.
        ValueError: a shape, device or option does not fit.
        RuntimeError: the backend that was asked for cannot run here.

    Example:
        >>> y = row_lstm(torch.randn(2, 3, 8, 8), torch.randn(64, 3, 1, 3), torch.randn(64, 16, 3), mask_type="B")
        >>> y.shape
        torch.Size([2, 16, 8, 8])
    """
    direction = Direction(weight_ih, weight_hh, bias, h0, c0)
    return _run(input, [direction], gate_bias, False, False, mask_type, image_channels, backend)


def diagonal_lstm(
    input: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor | None = None,
    h0: Tensor | None = None,
    c0: Tensor | None = None,
    *,
    mask_type: str | None = None,
    image_channels: int = 1,
    gate_bias: Tensor | None = None,
    reverse: bool = False,
    backend: str = "auto",
) -> Tensor:
    """One direction of the Diagonal BiLSTM (section 3.3): every pixel reads the one above and the one to its left.

    ::

        [i f g o](r, c) = weight_ih input(r, c) + bias + gate_bias(r, c)
                          + weight_hh_0 h(r - 1, c) + weight_hh_1 h(r, c - 1)
        c(r, c) = f * c(r, c - 1) + i * g,   h(r, c) = o * tanh(c(r, c))

    Args:
        weight_ih: (4 * hidden, in_channels, 1, 1).
        weight_hh: (4 * hidden, hidden, 2): above, left.
        reverse: sweep from right to left: the same on the mirrored map, mirrored back. It is not shifted down, so alone
            it is causal in the mirrored order, not in raster order.

    The other arguments, the result and the errors are those of :func:`row_lstm`.

    Example:
        >>> y = diagonal_lstm(torch.randn(2, 3, 8, 8), torch.randn(64, 3, 1, 1), torch.randn(64, 16, 2), mask_type="B")
        >>> y.shape
        torch.Size([2, 16, 8, 8])
    """
    direction = Direction(weight_ih, weight_hh, bias, h0, c0)
    return _run(input, [direction], gate_bias, True, reverse, mask_type, image_channels, backend)


def diagonal_bilstm(
    input: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    weight_ih_reverse: Tensor,
    weight_hh_reverse: Tensor,
    bias: Tensor | None = None,
    bias_reverse: Tensor | None = None,
    h0: Tensor | None = None,
    c0: Tensor | None = None,
    h0_reverse: Tensor | None = None,
    c0_reverse: Tensor | None = None,
    *,
    mask_type: str | None = None,
    image_channels: int = 1,
    gate_bias: Tensor | None = None,
    backend: str = "auto",
) -> Tensor:
    """Diagonal BiLSTM (section 3.3): the left-to-right scan plus the right-to-left one shifted down by one row.

    ::

        diagonal_lstm(input, ...) + shift_down(diagonal_lstm(input, ..._reverse, reverse=True))

    so that every pixel depends on all earlier pixels and on no later one. Arguments as in :func:`diagonal_lstm`, the second
    direction's with the suffix ``_reverse``.

    Args:
        gate_bias: broadcastable to (N, 8 * hidden, H, W), the left direction's 4 * hidden channels first.

    Example:
        >>> w = torch.randn(64, 3, 1, 1), torch.randn(64, 16, 2)
        >>> diagonal_bilstm(torch.randn(2, 3, 8, 8), *w, *w, mask_type="B").shape
        torch.Size([2, 16, 8, 8])
    """
    directions = [
        Direction(weight_ih, weight_hh, bias, h0, c0),
        Direction(weight_ih_reverse, weight_hh_reverse, bias_reverse, h0_reverse, c0_reverse),
    ]
    return _run(input, directions, gate_bias, True, False, mask_type, image_channels, backend)


def masked_conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    mask_type: str = "B",
    *,
    image_channels: int = 1,
    gates: int = 1,
    activation: str | None = None,
    backend: str = "auto",
) -> Tensor:
    """Masked convolution (sections 2.2 and 3.4), stride 1, zeros around the map: a pixel reads the pixels before it.

    Equivalent to ``F.conv2d(input, weight * causal_mask(...), bias, padding=(kh // 2, kw // 2))``, ReLU on top if asked for,
    without the multiplications by taps that are dead. Masked weights have no effect, whatever they are, and zero gradients.

    Args:
        input: (N, in_channels, H, W), any N, H >= 1, W >= 1, of any strides.
        weight: (out_channels, in_channels, kh, kw), kh and kw odd.
        bias: (out_channels,).
        mask_type: ``"A"``: at the centre a pixel reads the colours before its own; ``"B"``: before and its own.
        image_channels: colours that the channels are divided into, see :func:`pixelrnn_ext.masks.colour_groups`.
        gates: the mask is made for ``out_channels / gates`` units and repeated for every gate.
        activation: ``"relu"`` or None.
        backend: ``"native"`` (on a CPU the compiled kernels, on a GPU Triton kernels), ``"reference"`` (F.conv2d
            with the masked weight), or ``"auto"``: native where it runs.

    Returns:
        (N, out_channels, H, W) of the dtype of ``input`` (float32, float64, float16 or bfloat16), in channels_last where
        ``input`` is. Under autocast of the autocast dtype. On a CPU halves are computed in float32.

    Raises:
        TypeError: a tensor is not floating point, dtypes are mixed outside autocast, or an option is of a wrong type.
        ValueError: a shape, device or option does not fit.
        RuntimeError: the backend that was asked for cannot run here.

    Example:
        >>> masked_conv2d(torch.randn(2, 3, 8, 8), torch.randn(16, 3, 7, 7), mask_type="A", image_channels=3).shape
        torch.Size([2, 16, 8, 8])
    """
    check_masked_conv2d_options(mask_type, activation)
    image_channels, gates = integers(image_channels=image_channels, gates=gates)
    _check_tensors({"input": input, "weight": weight, "bias": bias})
    _check_map(input)
    if weight.dim() != 4 or weight.shape[1] != input.shape[1]:
        raise ValueError(f"expected weight of shape (out_channels, {input.shape[1]}, kh, kw), got {_shape(weight)}")
    out_channels, in_channels, height, width = weight.shape
    if height % 2 == 0 or width % 2 == 0:
        raise ValueError(f"expected an odd kernel in weight, got {height} x {width}")
    if bias is not None and bias.shape != (out_channels,):
        raise ValueError(f"expected bias of shape ({out_channels},), got {_shape(bias)}")
    if out_channels % gates:
        raise ValueError(f"expected out_channels divisible by {gates} gates, got {out_channels}")
    check_colour_groups(out_channels // gates, image_channels)
    check_colour_groups(in_channels, image_channels)
    # Where nothing is masked PyTorch's own convolution is the shortest way, but for halves, which are computed in float32 here.
    plain = removes_nothing(weight, mask_type, image_channels) and input.dtype in (torch.float32, torch.float64)
    if backends.runs_masked_conv(backend, input) and not plain:
        return torch.ops.pixelrnn_ext.masked_conv2d(
            input, weight, bias, mask_type, image_channels, gates, activation == "relu"
        )
    options = dict(image_channels=image_channels, gates=gates, activation=activation)
    return reference.masked_conv2d(input, weight, bias, mask_type, **options)


def check_masked_conv2d_options(mask_type: str, activation: str | None) -> None:
    """ValueError where one of the two is none that there is."""
    if mask_type not in MASK_TYPES:
        raise ValueError(f"expected mask_type to be 'A' or 'B', got {mask_type!r}")
    if activation not in (None, "relu"):
        raise ValueError(f"expected activation to be 'relu' or None, got {activation!r}")


class Direction(NamedTuple):
    """The parameters of one scan; shapes as in :func:`row_lstm`."""

    weight_ih: Tensor
    weight_hh: Tensor
    bias: Tensor | None
    h0: Tensor | None
    c0: Tensor | None

    @property
    def hidden(self) -> int:
        return self.weight_hh.shape[1]


def _run(input, directions, gate_bias, diagonal, reverse, mask_type, image_channels, backend):
    """The map of one direction, or of two: the second one is the other way round, and shifted down."""
    image_channels = integer("image_channels", image_channels)
    _check(input, directions, gate_bias, diagonal, mask_type, image_channels)
    path = backends.choose(backend, input.device)
    run = _reference if path is None else partial(_native, path)
    device = input.device.type
    result_dtype = torch.get_autocast_dtype(device) if autocasts(device) and input.dtype != torch.float64 else input.dtype
    # The CUDA kernels store halves and compute in float32; elsewhere halves are computed as float32 maps.
    dtype = result_dtype if path and device == "cuda" else torch.promote_types(result_dtype, torch.float32)
    if gate_bias is not None:
        n, _, height, width = input.shape
        gate_bias = gate_bias.to(dtype).expand(n, 4 * directions[0].hidden * len(directions), height, width)
    directions = [Direction(*(None if t is None else t.to(dtype) for t in d)) for d in directions]
    with without_autocast(device):
        maps = run(input.to(dtype), directions, gate_bias, diagonal, reverse, mask_type, image_channels)
        y, *right = maps
        for m in right:
            y = y + F.pad(m[:, :, :-1], (0, 0, 1, 0))
        return y.to(result_dtype)


def _reference(input, directions, gate_bias, diagonal, reverse, mask_type, image_channels):
    biases = [None] * len(directions) if gate_bias is None else gate_bias.chunk(len(directions), dim=1)
    options = dict(mask_type=mask_type, image_channels=image_channels)
    if not diagonal:
        return [reference.row_lstm(input, *d, gate_bias=b, **options) for d, b in zip(directions, biases)]
    return [
        reference.diagonal_lstm(input, *d, gate_bias=b, reverse=reverse != (i == 1), **options)
        for i, (d, b) in enumerate(zip(directions, biases))
    ]


def _native(path, input, directions, gate_bias, diagonal, reverse, mask_type, image_channels):
    kernel = directions[0].weight_ih.shape[3]
    live = kernel if mask_type is None else kernel // 2 + 1  # the mask removes the taps to the right

    def unit_major(weights):  # (4 * hidden, channels, taps) each -> [D, taps, hidden, 4, channels]
        return torch.stack([w.unflatten(0, (4, -1)).permute(3, 1, 0, 2) for w in weights])

    def live_taps(weight):
        return masked_weight(weight, mask_type, image_channels=image_channels, gates=4)[:, :, 0, :live]

    def states(name):
        given = [getattr(d, name) for d in directions]
        if all(state is None for state in given):
            return None
        return torch.stack([d.weight_hh.new_zeros(d.hidden) if s is None else s for d, s in zip(directions, given)])

    hidden = directions[0].hidden
    biases = [d.bias for d in directions]
    bias = None
    if any(b is not None for b in biases):
        zero = directions[0].weight_hh.new_zeros(4 * hidden)
        bias = torch.stack([(zero if b is None else b).view(4, hidden).t() for b in biases])
    x = None
    if gate_bias is not None:
        x = gate_bias.unflatten(1, (len(directions), 4, hidden)).permute(1, 0, 4, 5, 3, 2)
    h, _, _ = torch.ops.pixelrnn_ext.line_scan(
        x,
        unit_major(d.weight_hh for d in directions),
        states("h0"),
        states("c0"),
        input.permute(0, 2, 3, 1),
        unit_major(live_taps(d.weight_ih) for d in directions),
        bias,
        kernel,
        diagonal,
        reverse,
        path,
        input.is_cuda and allows_tf32(),
    )
    return h.permute(0, 1, 4, 2, 3).unbind()


def _check(input, directions, gate_bias, diagonal, mask_type, image_channels):
    tensors = {"input": input, "gate_bias": gate_bias}
    for suffix, direction in zip(("", "_reverse"), directions):
        tensors |= {name + suffix: tensor for name, tensor in direction._asdict().items()}
    _check_tensors(tensors)
    _check_map(input)
    if mask_type is not None and mask_type not in MASK_TYPES:
        raise ValueError(f"expected mask_type to be 'A', 'B' or None, got {mask_type!r}")

    n, in_channels, height, width = input.shape
    hidden = directions[0].weight_hh.shape[1] if directions[0].weight_hh.dim() == 3 else 0
    for suffix, d in zip(("", "_reverse"), directions):
        taps = "2" if diagonal else "taps"
        if d.weight_hh.dim() != 3 or d.weight_hh.shape[:2] != (4 * hidden, hidden) or hidden == 0 or (diagonal and d.weight_hh.shape[2] != 2):
            raise ValueError(f"expected weight_hh{suffix} of shape (4 * hidden, hidden, {taps}), got {_shape(d.weight_hh)}")
        if not diagonal and d.weight_hh.shape[2] % 2 == 0:
            raise ValueError(f"expected an odd number of taps in weight_hh{suffix}, got {d.weight_hh.shape[2]}")
        kernel = d.weight_ih.shape[3] if d.weight_ih.dim() == 4 else 0
        if d.weight_ih.shape != (4 * hidden, in_channels, 1, 1 if diagonal else kernel) or kernel == 0:
            expected = f"({4 * hidden}, {in_channels}, 1, {'1' if diagonal else 'k'})"
            raise ValueError(f"expected weight_ih{suffix} of shape {expected}, got {_shape(d.weight_ih)}")
        if kernel % 2 == 0:
            raise ValueError(f"expected an odd kernel in weight_ih{suffix}, got {kernel}")
        for name, size in (("bias", 4 * hidden), ("h0", hidden), ("c0", hidden)):
            tensor = getattr(d, name)
            if tensor is not None and tensor.shape != (size,):
                raise ValueError(f"expected {name}{suffix} of shape ({size},), got {_shape(tensor)}")
    if mask_type is not None:
        check_colour_groups(hidden, image_channels)
        check_colour_groups(in_channels, image_channels)
    if gate_bias is not None:
        expected = (n, 4 * hidden * len(directions), height, width)
        if gate_bias.dim() != 4 or any(got not in (1, want) for got, want in zip(gate_bias.shape, expected)):
            raise ValueError(f"expected gate_bias broadcastable to {expected}, got {_shape(gate_bias)}")


def _check_map(input):
    if input.dim() != 4:
        raise ValueError(f"expected input of shape (N, C, H, W), got {_shape(input)}")
    if input.shape[2] == 0 or input.shape[3] == 0:
        raise ValueError(f"expected input with H >= 1 and W >= 1, got {_shape(input)}")


def _check_tensors(tensors):
    input = tensors["input"]
    for name, tensor in tensors.items():
        if tensor is None and name not in ("input",) and not name.startswith("weight"):
            continue
        if not isinstance(tensor, Tensor):
            raise TypeError(f"expected {name} to be a Tensor, got {type(tensor).__name__}")
        check_dtype(name, tensor.dtype)
        if tensor.device != input.device:
            raise ValueError(f"expected all tensors on one device, got input on {input.device} and {name} on {tensor.device}")
        if tensor.dtype != input.dtype and not autocasts(input.device.type):
            raise TypeError(f"expected all tensors of one dtype, got input of {input.dtype} and {name} of {tensor.dtype}")


def _shape(tensor):
    return tuple(tensor.shape)
