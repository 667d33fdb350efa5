"""The masked convolution on a GPU: what is launched, with which tiles and strides.

An ordinary matrix product of torch where nothing is masked, else the kernels of gpu_kernels.py.
"""

import torch
from torch import Tensor

from ...masks import Mask, removes_nothing
from ..precision import allows_tf32
from .cpu import memory_format
from .gpu_kernels import WHY_NO_TRITON, input_gradient_kernel, output_kernel, pack_kernel, weight_gradient_kernel
from .gpu_tiles import INTERPRETED, Gemm, ceil_div, launches_on

_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
_MOST_PIXELS = 2**30  # an int32 holds their number rounded up to blocks
_PROGRAMS = 512  # of the weight gradient: a few for each multiprocessor of a large GPU
_FEWEST_PIXELS = 512  # that one of its programs sums over
_PACKED_TILE = 32  # channels of the weight that are packed at once, each way


def why_not(input: Tensor) -> str | None:
    """None if the kernels run on this tensor, else the reason."""
    if WHY_NO_TRITON:
        return WHY_NO_TRITON
    if not input.is_cuda and not INTERPRETED:
        return f"the masked convolution's Triton kernels need a CUDA tensor, got one on {input.device}"
    if input.dtype not in _DTYPES:
        return f"the masked convolution's Triton kernels take float32, bfloat16 and float16, got {input.dtype}"
    if input.shape[0] * input.shape[2] * input.shape[3] > _MOST_PIXELS:
        return f"the masked convolution's Triton kernels take at most {_MOST_PIXELS} pixels, got {tuple(input.shape)}"
    return None


def _live_taps(weight: Tensor, mask: Mask) -> int:
    middle = weight.shape[2] * weight.shape[3] // 2
    return middle if mask.mask_type == "A" and mask.image_channels == 1 else middle + 1


def _empty_map(like: Tensor, channels: int) -> Tensor:
    """A map of so many channels in the memory format of another."""
    n, _, height, width = like.shape
    size = n, channels, height, width
    return torch.empty(size, dtype=like.dtype, device=like.device, memory_format=memory_format(like))


def _precision() -> str:
    return "tf32" if allows_tf32() else "ieee"


def _sizes(input: Tensor, weight: Tensor) -> tuple[int, ...]:
    """batch_key to out_channels of a kernel's arguments."""
    n, in_channels, height, width = input.shape
    return 1 << (n - 1).bit_length(), n * height * width, height, width, in_channels, weight.shape[0]


def _constants(weight: Tensor, mask: Mask, relu: bool) -> dict:
    return {
        "KERNEL_HEIGHT": weight.shape[2],
        "KERNEL_WIDTH": weight.shape[3],
        "TAPS": _live_taps(weight, mask),
        "RELU": relu,
        "PRECISION": _precision(),
        "INTERPRETED": INTERPRETED,
    }


def _colours(mask: Mask) -> dict:
    return {"STRICT": mask.mask_type == "A", "COLOURS": mask.image_channels, "GATES": mask.gates}


def _packed(weight: Tensor, mask: Mask, transposed: bool) -> Tensor:
    """The live taps, masked: (taps, in, out), or transposed (taps, out, in)."""
    out_channels, in_channels, height, width = weight.shape
    taps, weight = _live_taps(weight, mask), weight.flatten(2)
    size = (taps, out_channels, in_channels) if transposed else (taps, in_channels, out_channels)
    packed = weight.new_empty(size)
    if not taps:
        return packed
    tap, *strides = packed.stride()
    out, source = strides if transposed else strides[::-1]
    grid = taps, ceil_div(out_channels, _PACKED_TILE), ceil_div(in_channels, _PACKED_TILE)
    pack_kernel[grid](
        weight, packed, in_channels, out_channels, *weight.stride(), out, source, tap,
        CENTRE=height * width // 2, **_colours(mask), BLOCK_OUT=_PACKED_TILE, BLOCK_IN=_PACKED_TILE,
    )  # fmt: skip
    return packed


def _pointwise(matrix: Tensor, map: Tensor, bias: Tensor | None, layout: torch.memory_format) -> Tensor:
    """The matrix times every pixel's channels, plus bias: one GEMM of torch."""
    if layout == torch.channels_last:
        return torch.nn.functional.linear(map.permute(0, 2, 3, 1), matrix, bias).permute(0, 3, 1, 2)
    n, _, height, width = map.shape
    matrices, pixels = matrix.expand(n, -1, -1), map.flatten(2)
    result = matrices @ pixels if bias is None else torch.baddbmm(bias[:, None], matrices, pixels)
    return result.view(n, -1, height, width)


def forward(input: Tensor, weight: Tensor, bias: Tensor | None, mask: Mask, relu: bool) -> Tensor:
    """The masked convolution with same padding, in the input's memory format."""
    out_channels, in_channels = weight.shape[:2]
    if input.numel() == 0:
        return _empty_map(input, out_channels)
    if removes_nothing(weight, mask.mask_type, mask.image_channels):
        output = _pointwise(weight.flatten(1), input, bias, memory_format(input))
        return output.relu_() if relu else output
    output = _empty_map(input, out_channels)
    pixels = input.numel() // in_channels
    with launches_on(input):
        packed = _packed(weight, mask, transposed=False)
        output_kernel.launch(
            Gemm(pixels, out_channels, in_channels),
            lambda tiles: (ceil_div(pixels, tiles["BLOCK_PIXELS"]), ceil_div(out_channels, tiles["BLOCK_OUT"])),
            input, packed, bias, output, *_sizes(input, weight), *input.stride(), *output.stride(),
            **_constants(weight, mask, relu), HAS_BIAS=bias is not None,
        )  # fmt: skip
    return output


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
    """Gradients of input, weight and bias; the output is read where there is a ReLU."""
    # One set of strides for both, and no copy where the gradient comes in the output's memory format.
    grad_output = grad_output.contiguous(memory_format=memory_format(input))
    output = grad_output if output is None or not relu else output.contiguous(memory_format=memory_format(input))
    taps = _live_taps(weight, mask)
    dinput = _input_gradient(grad_output, output, input, weight, mask, relu) if need_input else None
    dweight = dbias = None
    if need_weight and taps and input.numel():
        dweight, dbias = _weight_gradient(grad_output, output, input, weight, mask, relu, need_bias)
    elif need_weight:
        dweight = torch.zeros_like(weight)
    if need_bias and dbias is None:
        dbias = _relu_gradient(grad_output, output, relu).sum((0, 2, 3))
    return dinput, dweight, dbias


def _relu_gradient(grad_output: Tensor, output: Tensor, relu: bool) -> Tensor:
    return torch.where(output > 0, grad_output, 0) if relu else grad_output


def _input_gradient(
    grad_output: Tensor, output: Tensor, input: Tensor, weight: Tensor, mask: Mask, relu: bool
) -> Tensor:
    if removes_nothing(weight, mask.mask_type, mask.image_channels) and input.numel():
        gradient = _relu_gradient(grad_output, output, relu)
        return _pointwise(weight.flatten(1).t(), gradient, None, memory_format(input))
    in_channels = weight.shape[1]
    dinput = _empty_map(input, in_channels)
    if input.numel() == 0:
        return dinput
    pixels = input.numel() // in_channels
    with launches_on(input):
        packed = _packed(weight, mask, transposed=True)
        input_gradient_kernel.launch(
            Gemm(pixels, in_channels, weight.shape[0]),
            lambda tiles: (ceil_div(pixels, tiles["BLOCK_PIXELS"]), ceil_div(in_channels, tiles["BLOCK_IN"])),
            grad_output, output, packed, dinput, *_sizes(input, weight), *grad_output.stride(), *dinput.stride(),
            **_constants(weight, mask, relu),
        )  # fmt: skip
    return dinput


def _weight_gradient(
    grad_output: Tensor, output: Tensor, input: Tensor, weight: Tensor, mask: Mask, relu: bool, need_bias: bool
) -> tuple[Tensor, Tensor | None]:
    out_channels, in_channels = weight.shape[:2]
    taps = _live_taps(weight, mask)
    pixels = input.numel() // in_channels
    # Parts, summed afterwards in a fixed order, keep a large GPU busy. Their number depends on the shape alone.
    programs = taps * ceil_div(out_channels, 64) * ceil_div(in_channels, 64)
    parts = max(1, min(_PROGRAMS // programs, pixels // _FEWEST_PIXELS))
    dweights = input.new_empty((parts, taps, out_channels, in_channels), dtype=torch.float32)
    dbiases = input.new_empty((parts, out_channels), dtype=torch.float32) if need_bias else None
    with launches_on(input):
        weight_gradient_kernel.launch(
            Gemm(out_channels, in_channels, ceil_div(pixels, parts), taps * parts),
            lambda tiles: (
                ceil_div(out_channels, tiles["BLOCK_OUT"]) * ceil_div(in_channels, tiles["BLOCK_IN"]),
                taps,
                parts,
            ),
            grad_output, output, input, dweights, dbiases,
            *_sizes(input, weight), *grad_output.stride(), *input.stride(),
            **_constants(weight, mask, relu), **_colours(mask), HAS_BIAS=need_bias,
        )  # fmt: skip
    dweight = torch.zeros_like(weight, memory_format=torch.contiguous_format)
    dweight.view(out_channels, in_channels, -1)[:, :, :taps] = dweights.sum(0).permute(1, 2, 0)
    return dweight, None if dbiases is None else dbiases.sum(0).to(weight.dtype)
