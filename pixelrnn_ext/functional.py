"""The layers of PixelRNN (arXiv 1601.06759), and a two-dimensional LSTM, as functions.

All feature maps are (N, C, H, W). Inputs may have any strides. On the native backend (the compiled kernels) a
recurrence returns channels_last memory format, and a masked convolution keeps the format of its input.

Inputs of float32 and float64 are computed in their own dtype. On a GPU, the kernels for float32 take tf32 where torch
lets the layer that they replace take it. nn.LSTM's setting ``torch.backends.cudnn.rnn.fp32_precision`` decides for a
recurrence, nn.Conv2d's setting ``torch.backends.cudnn.conv.fp32_precision`` for a masked convolution. torch's default
is tf32 for both, and ``torch.backends.cudnn.allow_tf32 = False`` turns tf32 off in both. A backward pass takes the
choice of its forward pass, and code of ``torch.compile`` the choice at its compilation. torch computes the products
before and after a recurrence and on the step path, which follow ``torch.backends.cuda.matmul.fp32_precision``.

Inputs of float16 and bfloat16 give a result of the input's dtype. The CUDA kernels then store maps
and weights in 16 bits, but the cell state and all sums in float32. The kernels for a CPU with AVX512-BF16 do the same
for bfloat16. Everything else computes 16-bit formats in float32. Under autocast the result has autocast's dtype.
"""

from collections.abc import Sequence

from torch import Tensor

from ._arguments import integers
from ._recordable import recordable
from .directions import Direction2d as Direction2d  # users find this class here, because it is an argument of lstm2d
from .directions import check_corners, check_merge
from .masks import check_colour_groups, check_mask_type
from .operators.masked_conv import run as masked_conv
from .operators.masked_conv.arguments import Convolution
from .operators.operands import check_map, check_tensors, shape
from .operators.scan.packing import Packed
from .operators.scan.problem import Problem
from .operators.scan.run import run


@recordable
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
    sizes: Tensor | None = None,
    backend: str = "auto",
    packed: Packed | None = None,
) -> Tensor:
    """Computes the Row LSTM (section 3.2): a scan from top to bottom, in which a pixel reads pixels of the row above.

    ::

        [i f g o](r, c) = sum_j weight_ih_j input(r, c + j - k//2) + bias + gate_bias(r, c)
                          + sum_j weight_hh_j h(r - 1, c + j - k//2)
        c(r, c) = f * c(r - 1, c) + i * g,   h(r, c) = o * tanh(c(r, c))        (eq. 3)

    Args:
        input: (N, in_channels, H, W).
        weight_ih: (4 * hidden, in_channels, 1, k), the input-to-state weights. The width k is odd.
        weight_hh: (4 * hidden, hidden, taps), the weights of the pixels that are read in the row above, from left to
            right. The number of taps is odd.
        bias: (4 * hidden,).
        h0, c0: (hidden,), the states h and c of every cell outside the image. None means zero.
        mask_type: ``"A"`` or ``"B"`` masks ``weight_ih`` (section 3.4); None leaves it unmasked.
        image_channels: number of colours that the mask divides the channels into.
        gate_bias: broadcastable to (N, 4 * hidden, H, W), added to the input-to-state map (section 3.6).
        sizes: (N, 2) integers, the height and width of each image, on the CPU or on the input's device. An image lies
            in the top left corner of its map, and is computed as if it were alone. Outside the image the input has no
            effect, and the result and all gradients are zero. An image of size 0 is empty. None means that all images
            are H x W. Sizes on a GPU, or inside torch.compile or torch.vmap, are not checked but clamped to 0 .. H and
            0 .. W. The reference backend takes no sizes inside torch.compile or torch.vmap.
        backend: ``"auto"`` runs the native kernels if they can run, else plain PyTorch. ``"native"`` demands them.
            ``"reference"`` runs :mod:`pixelrnn_ext.reference`. On a GPU ``"native"`` chooses one of two paths, which
            can also be demanded. ``"step"`` runs a matrix product and a kernel for every row or diagonal.
            ``"resident"`` runs one kernel for the whole scan, which takes ``sizes`` only with a cell of five gates.
        packed: for models, the parameters once more, as operators/scan/packing.py packs them.

    Returns:
        The state h of every pixel, (N, hidden, H, W), in the dtype of ``input``.

    Raises:
        TypeError: a tensor is not floating point, dtypes are mixed outside autocast, or ``sizes`` are no integers.
        ValueError: a shape, device, size or option does not fit.
        RuntimeError: the requested backend cannot run here.

    Example:
        >>> row_lstm(torch.randn(2, 3, 8, 8), torch.randn(64, 3, 1, 3), torch.randn(64, 16, 3), mask_type="B").shape
        torch.Size([2, 16, 8, 8])
    """
    directions = [Direction2d(weight_ih, weight_hh, bias, h0, c0)]
    return run(
        Problem(input, directions, gate_bias, sizes, mask_type, image_channels, diagonal=False, packed=packed), backend
    )


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
    sizes: Tensor | None = None,
    reverse: bool = False,
    backend: str = "auto",
) -> Tensor:
    """Computes one direction of the Diagonal BiLSTM (section 3.3): a pixel reads its neighbours above and to the left.

    ::

        [i f g o](r, c) = weight_ih input(r, c) + bias + gate_bias(r, c)
                          + weight_hh_0 h(r - 1, c) + weight_hh_1 h(r, c - 1)
        c(r, c) = f * c(r, c - 1) + i * g,   h(r, c) = o * tanh(c(r, c))

    Args:
        weight_ih: (4 * hidden, in_channels, 1, 1).
        weight_hh: (4 * hidden, hidden, 2), the weights of the neighbour above, then of the left neighbour.
        reverse: whether to scan from right to left. The result is then causal in mirrored order, not in raster order.

    All else is as in :func:`row_lstm`.

    Example:
        >>> diagonal_lstm(torch.randn(2, 3, 8, 8), torch.randn(64, 3, 1, 1), torch.randn(64, 16, 2)).shape
        torch.Size([2, 16, 8, 8])
    """
    directions, corners = [Direction2d(weight_ih, weight_hh, bias, h0, c0)], ("tr" if reverse else "tl",)
    return run(Problem(input, directions, gate_bias, sizes, mask_type, image_channels, corners), backend)


@recordable
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
    sizes: Tensor | None = None,
    backend: str = "auto",
    packed: Packed | None = None,
) -> Tensor:
    """Computes the Diagonal BiLSTM (section 3.3): a left-to-right scan plus a right-to-left scan shifted down by a row.

    A pixel depends on all earlier pixels in raster order and on no later one. The right-to-left scan has the arguments
    that end in ``_reverse``. All else is as in :func:`diagonal_lstm`.

    Args:
        gate_bias: broadcastable to (N, 8 * hidden, H, W). The channels of the left-to-right scan come first.
        packed: as in :func:`row_lstm`.

    Example:
        >>> w = torch.randn(64, 3, 1, 1), torch.randn(64, 16, 2)
        >>> diagonal_bilstm(torch.randn(2, 3, 8, 8), *w, *w, mask_type="B").shape
        torch.Size([2, 16, 8, 8])
    """
    directions = [
        Direction2d(weight_ih, weight_hh, bias, h0, c0),
        Direction2d(weight_ih_reverse, weight_hh_reverse, bias_reverse, h0_reverse, c0_reverse),
    ]
    problem = Problem(
        input, directions, gate_bias, sizes, mask_type, image_channels, ("tl", "tr"), "shift", packed=packed
    )
    return run(problem, backend)


def lstm2d(
    input: Tensor,
    weights: Sequence[Direction2d],
    *,
    cell: str = "stable",
    corners: Sequence[str] = ("tl",),
    gate_bias: Tensor | None = None,
    sizes: Tensor | None = None,
    merge: str | None = "concat",
    backend: str = "auto",
) -> Tensor:
    """Computes a two-dimensional LSTM. Seen from a direction's corner, a pixel reads the pixels above and to the left.

    ::

        z(r, c) = weight_ih input(r, c) + bias + gate_bias(r, c) + weight_hh_0 h(r - 1, c) + weight_hh_1 h(r, c - 1)
        g = tanh(z_g), every other gate is sigmoid(z);  h(r, c) = o * tanh(c(r, c)), except for leaky

    =============  =====================  ==================================================================
    cell           gates                  c(r, c), from c_up = c(r - 1, c) and c_left = c(r, c - 1)
    =============  =====================  ==================================================================
    ``pixelrnn``   i, f, g, o             i g + f c_left
    ``stable``     i, f, g, o, lambda     i g + f m, where m = lambda c_up + (1 - lambda) c_left
    ``graves``     i, f_left, g, o, f_up  i g + f_up c_up + f_left c_left
    ``halved``     i, f_left, g, o, f_up  i g + (f_up c_up + f_left c_left) / 2
    ``leaky``      phi, o_prev, g, o,     phi g + (1 - phi) m, and h = tanh(o_prev m + o c)
                   lambda
    ``max``        i, f_left, g, o, f_up  i g + f_left c_left if f_left >= f_up or in the first row, otherwise
                                          i g + f_up c_up; clamped to [-100, 100]
    =============  =====================  ==================================================================

    Only ``graves`` and ``halved`` take peephole weights p: ``z_i += p_0 (c_up + c_left)``, ``z_f_left += p_1 c_left``,
    ``z_f_up += p_2 c_up``, ``z_o += p_3 c``. In ``graves`` c may double from one anti-diagonal to the next, and
    overflow on large maps.

    Args:
        input: (N, in_channels, H, W).
        weights: a :class:`functional.Direction2d <pixelrnn_ext.directions.Direction2d>` for each corner. For a cell
            with G gates, weight_ih is (G * hidden, in_channels, 1, 1), with the gates in the table's order. weight_hh
            is (G * hidden, hidden, 2), with the taps up, left. bias is (G * hidden,). h0 and c0 are (hidden,), the
            state of every pixel outside the image; None means zero. peephole is (4, hidden).
        cell: the name of a cell in the table above.
        corners: the D different corners where directions start, of ``"tl"``, ``"tr"``, ``"bl"`` and ``"br"``. A
            direction is the scan from ``"tl"`` of the flipped image, flipped back. Seen from ``"br"``, up is the row
            below.
        gate_bias: broadcastable to (N, D * G * hidden, H, W), added to z. Channels are ordered by direction, then gate.
        sizes: as in :func:`row_lstm`.
        merge: ``"concat"`` returns (N, D * hidden, H, W) in the order of ``corners``. ``"sum"`` and ``"mean"`` return
            (N, hidden, H, W). None returns (N, D, hidden, H, W).
        backend: as in :func:`row_lstm`. ``"resident"`` takes no peepholes.

    The errors are those of :func:`row_lstm`.

    Example:
        >>> weights = [functional.Direction2d(torch.randn(80, 3, 1, 1), torch.randn(80, 16, 2)) for _ in range(2)]
        >>> lstm2d(torch.randn(2, 3, 8, 8), weights, corners=("tl", "br")).shape
        torch.Size([2, 32, 8, 8])
    """
    corners = tuple(corners)
    check_corners(corners)
    check_merge(merge)
    problem = Problem(input, list(weights), gate_bias, sizes, corners=corners, merge=merge, cell=cell)
    return run(problem, backend)


@recordable
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
    """Computes a masked convolution (sections 2.2 and 3.4) of stride 1: a pixel reads the pixels before it.

    The result equals ``F.conv2d(input, weight * causal_mask(...), bias, padding=(kh // 2, kw // 2))``, followed by the
    activation. But masked weights have no effect, even if NaN, and their gradients are zero.

    Args:
        input: (N, in_channels, H, W), any N, H >= 1, W >= 1.
        weight: (out_channels, in_channels, kh, kw), kh and kw odd.
        bias: (out_channels,).
        mask_type: says which colours of the pixel itself an output channel reads through the kernel's centre. With
            ``"A"`` these are the colours before the channel's own colour. With ``"B"`` they include its own colour.
        image_channels: number of colours, see :func:`pixelrnn_ext.masks.colour_groups`.
        gates: number of equal blocks of output channels, which all have the same mask.
        activation: ``"relu"`` or None.
        backend: ``"native"`` runs compiled kernels on a CPU, and Triton kernels on a GPU. ``"reference"`` runs F.conv2d
            with the masked weight. ``"auto"`` runs native kernels if they can run, else the reference.

    Returns:
        The output, (N, out_channels, H, W), in the dtype and the memory format of ``input``.

    The errors are those of :func:`row_lstm`.

    Example:
        >>> masked_conv2d(torch.randn(2, 3, 8, 8), torch.randn(16, 3, 7, 7), mask_type="A", image_channels=3).shape
        torch.Size([2, 16, 8, 8])
    """
    check_masked_conv2d_options(mask_type, activation)
    image_channels, gates = integers(image_channels=image_channels, gates=gates)
    check_tensors(input, {"weight": weight, "bias": bias})
    check_map(input)
    if weight.dim() != 4 or weight.shape[1] != input.shape[1]:
        raise ValueError(f"expected weight of shape (out_channels, {input.shape[1]}, kh, kw), got {shape(weight)}")
    out_channels, in_channels, height, width = weight.shape
    if height % 2 == 0 or width % 2 == 0:
        raise ValueError(f"expected an odd kernel in weight, got {height} x {width}")
    if bias is not None and bias.shape != (out_channels,):
        raise ValueError(f"expected bias of shape ({out_channels},), got {shape(bias)}")
    if out_channels % gates:
        raise ValueError(f"expected out_channels divisible by {gates} gates, got {out_channels}")
    check_colour_groups(out_channels // gates, image_channels)
    check_colour_groups(in_channels, image_channels)
    convolution = Convolution(input, weight, bias, mask_type, image_channels, gates, activation == "relu")
    return masked_conv.run(convolution, backend)


def check_masked_conv2d_options(mask_type: str, activation: str | None) -> None:
    check_mask_type(mask_type)
    if activation not in (None, "relu"):
        raise ValueError(f"expected activation to be 'relu' or None, got {activation!r}")
