"""Masked convolution on a CPU: ordinary convolutions over the rectangles of the kernel that are alive.

The live taps are the rows above and the left half of the centre's row. Where the dead half row is worth it they are taken as two
rectangles, else as one that includes it (its weights are masked). It runs in the layout of the input: converting an NCHW map
to channels_last and back costs more than oneDNN's faster kernels for that layout give.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .masks import Mask, masked_weight

# A second rectangle costs a pass over the maps, and in NCHW oneDNN reorders them once more, which nothing pays for. In
# channels_last it pays from so many multiplications that it saves for every output.
_SPLIT_FROM = 192


class Block(NamedTuple):
    """A rectangle of a kernel: rows top..bottom - 1, columns left..right - 1."""

    top: int
    bottom: int
    left: int
    right: int

    def of(self, weight: Tensor) -> Tensor:
        return weight[:, :, self.top : self.bottom, self.left : self.right]


def live_blocks(weight: Tensor, mask: Mask, layout: torch.memory_format) -> list[Block]:
    """Rectangles that hold all live taps, each tap once; none where nothing is alive."""
    _, channels, height, width = weight.shape
    middle = height // 2
    centre = mask.mask_type == "B" or mask.image_channels > 1
    half = width // 2 + centre
    above, left = Block(0, middle, 0, width), Block(middle, middle + 1, 0, half)
    split = layout == torch.channels_last and (width - half) * channels >= _SPLIT_FROM
    if middle and half and not split:
        return [Block(0, middle + 1, 0, width)]
    return [block for block, alive in ((above, middle), (left, half)) if alive]


def memory_format(tensor: Tensor) -> torch.memory_format:
    """channels_last where a pixel's channels are adjacent, as in a map of any strides."""
    adjacent = tensor.stride(1) == 1 and tensor.stride(3) >= tensor.shape[1]
    return torch.channels_last if adjacent else torch.contiguous_format


def forward(input: Tensor, weight: Tensor, bias: Tensor | None, mask: Mask, relu: bool) -> Tensor:
    """The convolution, of the dtype of ``input``."""
    layout = memory_format(input)
    x, w, b = _map(input, layout), _live(weight, mask), None if bias is None else _computed(bias)
    y = None
    for block in live_blocks(weight, mask, layout):
        window, padding = _window(x, block, weight)
        part = F.conv2d(window, block.of(w), b if y is None else None, padding=padding)
        y = part if y is None else y.add_(part)
        del window, part  # before the next one takes fresh memory
    if y is None:
        n, _, rows, columns = input.shape
        y = x.new_zeros(n, weight.shape[0], rows, columns)
        y = y if b is None else y.add_(b[:, None, None])
    return (y.relu_() if relu else y).to(input.dtype)


def backward(
    grad_output: Tensor,
    output: Tensor | None,
    input: Tensor,
    weight: Tensor,
    mask: Mask,
    relu: bool,
    need_input: bool,
    need_weight: bool,
    need_bias: bool,
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Gradients of the input, the weight and the bias, None where not needed. ``output`` is for relu."""
    grad = torch.ops.aten.threshold_backward(grad_output, output, 0) if relu else grad_output
    layout = memory_format(input)
    grad, w = _map(grad, layout), _live(weight, mask)
    dinput = dweight = dbias = None
    if weight.shape[2:] == (1, 1):  # one call: an NCHW map is reordered by each
        x = _map(input, layout)
        wanted = [need_input, need_weight, need_bias]
        dinput, dweight, dbias = _convolution_backward(grad, x, w, [0, 0], wanted)
        need_input = need_weight = need_bias = False
    blocks = live_blocks(weight, mask, layout)
    if need_input:
        for block in blocks:
            part = _input_gradient(grad, block, w)
            dinput = part if dinput is None else dinput.add_(part)
            del part
        dinput = torch.zeros_like(input) if dinput is None else dinput
    if need_weight:
        x, dweight = _map(input, layout), torch.zeros_like(w)
        for block in blocks:
            window, padding = _window(x, block, weight)
            block.of(dweight).copy_(_convolution_backward(grad, window, block.of(w), padding, [False, True, False])[1])
            del window
    if need_bias:
        dbias = grad.sum((0, 2, 3))
    dweight = None if dweight is None else _live(dweight, mask)
    return tuple(None if d is None else d.to(input.dtype) for d in (dinput, dweight, dbias))


def _computed(tensor: Tensor) -> Tensor:
    """Halves as float32."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _map(tensor: Tensor, layout: torch.memory_format) -> Tensor:
    """As it is computed: halves as float32, without gaps."""
    return _computed(tensor).contiguous(memory_format=layout)


def _live(weight: Tensor, mask: Mask) -> Tensor:
    return masked_weight(_computed(weight), mask.mask_type, image_channels=mask.image_channels, gates=mask.gates)


def _window(x: Tensor, block: Block, weight: Tensor) -> tuple[Tensor, list[int]]:
    """What a block reads, and the padding that its convolution adds to it: that of full rows, which is symmetric."""
    rows, columns = weight.shape[2] // 2, weight.shape[3] // 2
    top, bottom = rows - block.top, block.bottom - 1 - rows  # negative below: those rows are not read
    left, right = columns - block.left, block.right - 1 - columns
    if left == right:
        return _pad(x, 0, 0, top, bottom), [0, columns]
    return _pad(x, left, right, top, bottom), [0, 0]


def _input_gradient(grad: Tensor, block: Block, weight: Tensor) -> Tensor:
    rows, columns = weight.shape[2] // 2, weight.shape[3] // 2
    top, bottom = block.bottom - 1 - rows, rows - block.top
    left, right = block.right - 1 - columns, columns - block.left
    height, width = block.bottom - block.top, block.right - block.left
    if left == right:
        return F.conv_transpose2d(_pad(grad, 0, 0, top, bottom), block.of(weight), padding=(height - 1, columns))
    return F.conv_transpose2d(_pad(grad, left, right, top, bottom), block.of(weight), padding=(height - 1, width - 1))


def _pad(x: Tensor, *sides: int) -> Tensor:
    """F.pad, whose negative sides crop."""
    return F.pad(x, sides) if any(sides) else x


def _convolution_backward(grad, input, weight, padding, wanted):
    return torch.ops.aten.convolution_backward(
        grad, input, weight, [weight.shape[0]], [1, 1], padding, [1, 1], False, [0, 0], 1, wanted
    )
