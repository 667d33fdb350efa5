"""Runs the masked convolution on a GPU by Triton kernels, or by torch's matrix product if nothing is masked."""

from typing import Any

import torch
from torch import Tensor

from ...masks import removes_nothing
from .arguments import Convolution, Gradients
from .cpu import memory_format, new_map
from .eager import relu_gradient
from .gpu_kernels import WHY_NO_TRITON, input_gradient_kernel, output_kernel, pack_kernel, weight_gradient_kernel
from .gpu_tiles import INTERPRETED, Gemm, ceil_div, launch_context

_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
# Maps with more than this number of pixels are refused, because the kernels index pixels in int32.
_MAX_PIXELS = 2**30
# The kernel of the weight gradient splits its sum over pixels into parts, so that it runs in roughly this number of
# Triton programs. A large GPU then has a few programs for each multiprocessor.
_TARGET_PROGRAMS = 512
# The fewest pixels that one program sums over.
_MIN_PIXELS = 512
_PACK_TILE = 32


def why_not(input: Tensor) -> str | None:
    if WHY_NO_TRITON:
        return WHY_NO_TRITON
    kernels = "the masked convolution's Triton kernels"
    if not input.is_cuda and not INTERPRETED:
        return f"{kernels} need a CUDA tensor, got one on {input.device}"
    if input.dtype not in _DTYPES:
        return f"{kernels} take float32, bfloat16 and float16, got {input.dtype}"
    if input.shape[0] * input.shape[2] * input.shape[3] > _MAX_PIXELS:
        return f"{kernels} take at most {_MAX_PIXELS} pixels, got {tuple(input.shape)}"
    return None


def forward(c: Convolution) -> Tensor:
    out_channels, in_channels = c.weight.shape[:2]
    if c.input.numel() == 0:
        return new_map(c.input, out_channels)
    if removes_nothing(c.weight, c.mask_type, c.image_channels):
        output = _pointwise(c.weight.flatten(1), c.input, c.bias, memory_format(c.input))
        return output.relu_() if c.relu else output
    output = new_map(c.input, out_channels)
    pixels = c.input.numel() // in_channels
    with launch_context(c.input):
        packed = _packed(c, transposed=False)
        output_kernel.launch(
            Gemm(pixels, out_channels, in_channels),
            lambda tiles: (ceil_div(pixels, tiles["BLOCK_PIXELS"]), ceil_div(out_channels, tiles["BLOCK_OUT"])),
            c.input, packed, c.bias, output, *_sizes(c), *c.input.stride(), *output.stride(),
            **_constants(c), HAS_BIAS=c.bias is not None,
        )  # fmt: skip
    return output


def backward(g: Gradients) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    # The output and its gradient get the same memory format, because the kernels take one set of strides for both.
    grad_output = g.grad_output.contiguous(memory_format=memory_format(g.input))
    output = None if g.output is None or not g.relu else g.output.contiguous(memory_format=memory_format(g.input))
    g = g._replace(grad_output=grad_output, output=output)
    dinput = _input_gradient(g) if g.need_input else None
    dweight = dbias = None
    if g.need_weight and _live_taps(g) and g.input.numel():
        dweight, dbias = _weight_gradient(g)
    elif g.need_weight:
        dweight = torch.zeros_like(g.weight)
    if g.need_bias and dbias is None:
        dbias = relu_gradient(g).sum((0, 2, 3))
    return dinput, dweight, dbias


def _input_gradient(g: Gradients) -> Tensor:
    out_channels, in_channels = g.weight.shape[:2]
    if g.input.numel() == 0:
        return new_map(g.input, in_channels)
    if removes_nothing(g.weight, g.mask_type, g.image_channels):
        return _pointwise(g.weight.flatten(1).t(), relu_gradient(g), None, memory_format(g.input))
    dinput = new_map(g.input, in_channels)
    pixels = g.input.numel() // in_channels
    with launch_context(g.input):
        packed = _packed(g, transposed=True)
        input_gradient_kernel.launch(
            Gemm(pixels, in_channels, out_channels),
            lambda tiles: (ceil_div(pixels, tiles["BLOCK_PIXELS"]), ceil_div(in_channels, tiles["BLOCK_IN"])),
            *_output_maps(g), packed, dinput, *_sizes(g), *g.grad_output.stride(), *dinput.stride(), **_constants(g),
        )  # fmt: skip
    return dinput


def _weight_gradient(g: Gradients) -> tuple[Tensor, Tensor | None]:
    out_channels, in_channels = g.weight.shape[:2]
    taps, pixels = _live_taps(g), g.input.numel() // in_channels
    # The sum over the pixels is computed in parts. The number of parts depends on shapes alone, so that the sum is
    # reproducible.
    programs = taps * ceil_div(out_channels, 64) * ceil_div(in_channels, 64)
    parts = max(1, min(_TARGET_PROGRAMS // programs, pixels // _MIN_PIXELS))
    dweights = g.input.new_empty((parts, taps, out_channels, in_channels), dtype=torch.float32)
    dbiases = g.input.new_empty((parts, out_channels), dtype=torch.float32) if g.need_bias else None
    with launch_context(g.input):
        weight_gradient_kernel.launch(
            Gemm(out_channels, in_channels, ceil_div(pixels, parts), taps * parts),
            lambda tiles: (
                ceil_div(out_channels, tiles["BLOCK_OUT"]) * ceil_div(in_channels, tiles["BLOCK_IN"]),
                taps,
                parts,
            ),
            *_output_maps(g), g.input, dweights, dbiases, *_sizes(g), *g.grad_output.stride(), *g.input.stride(),
            **_constants(g), **_mask_constants(g), HAS_BIAS=g.need_bias,
        )  # fmt: skip
    dweight = torch.zeros_like(g.weight, memory_format=torch.contiguous_format)
    live = dweight.view(out_channels, in_channels, -1)[:, :, :taps].permute(2, 0, 1)
    if live.dtype == dweights.dtype:
        torch.sum(dweights, 0, out=live)
    else:
        live.copy_(dweights.sum(0))
    return dweight, None if dbiases is None else dbiases.sum(0).to(g.weight.dtype)


def _output_maps(g: Gradients) -> tuple[Tensor, Tensor]:
    """Returns the gradient of the output, and the output.

    If the output is absent, returns its gradient twice. The kernels read the output only for a ReLU.
    """
    return g.grad_output, g.grad_output if g.output is None else g.output


def _live_taps(c: Convolution | Gradients) -> int:
    middle = c.weight.shape[2] * c.weight.shape[3] // 2
    return middle if c.mask_type == "A" and c.image_channels == 1 else middle + 1


def _sizes(c: Convolution | Gradients) -> tuple[int, ...]:
    """Returns batch_key, pixels, height, width, in_channels and out_channels.

    ``batch_key`` is the number of images, rounded up to a power of two. The autotuner measures once for each value.
    """
    n, in_channels, height, width = c.input.shape
    return 1 << (n - 1).bit_length(), n * height * width, height, width, in_channels, c.weight.shape[0]


def _constants(c: Convolution | Gradients) -> dict[str, Any]:
    return {
        "KERNEL_HEIGHT": c.weight.shape[2],
        "KERNEL_WIDTH": c.weight.shape[3],
        "TAPS": _live_taps(c),
        "RELU": c.relu,
        "PRECISION": "tf32" if c.tf32 else "ieee",
        "INTERPRETED": INTERPRETED,
    }


def _mask_constants(c: Convolution | Gradients) -> dict[str, Any]:
    return {"MASK_A": c.mask_type == "A", "COLOURS": c.image_channels, "GATES": c.gates}


def _packed(c: Convolution | Gradients, transposed: bool) -> Tensor:
    """Returns the masked weight as (taps, in, out), or (taps, out, in) if ``transposed``."""
    out_channels, in_channels, height, width = c.weight.shape
    taps, weight = _live_taps(c), c.weight.flatten(2)
    packed = weight.new_empty((taps, out_channels, in_channels) if transposed else (taps, in_channels, out_channels))
    if not taps:
        return packed
    tap, *strides = packed.stride()
    out, source = strides if transposed else strides[::-1]
    grid = taps, ceil_div(out_channels, _PACK_TILE), ceil_div(in_channels, _PACK_TILE)
    pack_kernel[grid](
        weight, packed, in_channels, out_channels, *weight.stride(), out, source, tap,
        CENTRE=height * width // 2, **_mask_constants(c), BLOCK_OUT=_PACK_TILE, BLOCK_IN=_PACK_TILE,
    )  # fmt: skip
    return packed


def _pointwise(matrix: Tensor, map: Tensor, bias: Tensor | None, layout: torch.memory_format) -> Tensor:
    if layout == torch.channels_last:
        return torch.nn.functional.linear(map.permute(0, 2, 3, 1), matrix, bias).permute(0, 3, 1, 2)
    n, _, height, width = map.shape
    matrices, pixels = matrix.expand(n, -1, -1), map.flatten(2)
    result = matrices @ pixels if bias is None else torch.baddbmm(bias[:, None], matrices, pixels)
    return result.view(n, -1, height, width)
