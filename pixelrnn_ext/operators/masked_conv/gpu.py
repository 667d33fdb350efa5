"""The masked convolution on GPUs: implicit GEMMs over the taps that the mask leaves alive, in Triton.

In raster order those are the first taps of the kernel: all before the centre, and the centre itself unless nothing of
it is alive (mask A, one colour). The kernels run over that many taps, so that dead ones cost nothing, and read the
weight as (taps, channels of the source, channels of the result): a masked copy of its live taps, which is small beside
the maps, for coalesced loads and loops that know no colours. Maps are read and written through their strides.

Pixels are counted over the batch, as int32: decomposing an int64 into image, row and column is slow. Offsets are int64.
"""

from __future__ import annotations  # tl.constexpr is not evaluated where Triton is missing

import torch
from torch import Tensor

from ...masks import Mask, removes_nothing
from ..precision import allows_tf32
from .cpu import memory_format
from .gpu_tiles import INTERPRETED, Gemm, Tiled, launches_on

try:
    import triton
    import triton.language as tl
except ImportError as _error:
    triton = None
    _WHY_NO_TRITON = f"the masked convolution's GPU kernels need Triton: {_error}"

_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
_MOST_PIXELS = 2**30  # an int32 holds their number rounded up to blocks
_PROGRAMS = 512  # of the weight gradient: a few for each multiprocessor of a large GPU
_FEWEST_PIXELS = 512  # that one of its programs sums over
_PACKED_TILE = 32  # channels of the weight that are packed at once, each way


def _jit(function):
    # Where Triton is missing the module still imports, for why_not.
    return triton.jit(function, do_not_specialize=["pixels", "batch_key"]) if triton else function


def _device_function(function):
    return triton.jit(function) if triton else function


def _tiled(rows: str, columns: str, depth: str):
    """Decorates a kernel whose tiles have these names; measured once for batch sizes up to each power of two."""
    # A map's channel stride tells its memory format.
    key = ["batch_key", "height", "width", "in_channels", "out_channels", "TAPS", "x_c", "y_c", "PRECISION"]
    return lambda kernel: Tiled(kernel, rows, columns, depth, key)


@_device_function
def _group(channel, channels, COLOURS: tl.constexpr):
    """masks.colour_groups: contiguous groups, the larger ones first."""
    size = channels // COLOURS
    larger = channels % COLOURS
    in_larger = channel < larger * (size + 1)
    return tl.where(in_larger, channel // (size + 1), (channel - larger) // size)


@_device_function
def _alive(
    tap, out, source, out_channels, in_channels,
    CENTRE: tl.constexpr, STRICT: tl.constexpr, COLOURS: tl.constexpr, GATES: tl.constexpr,
):  # fmt: skip
    """Whether output channels may read input channels of a live tap; the shapes of out and source broadcast."""
    units = out_channels // GATES
    group_out = _group(out % units, units, COLOURS)
    # All colours of the pixels before the centre come before the centre's.
    group_in = _group(source, in_channels, COLOURS) - (tap < CENTRE).to(tl.int32) * COLOURS
    if STRICT:
        return group_in < group_out
    return group_in <= group_out


@_device_function
def _offset(image, row, column, stride_n, stride_h, stride_w):
    return image.to(tl.int64) * stride_n + row.to(tl.int64) * stride_h + column.to(tl.int64) * stride_w


@_device_function
def _operand(tile, INTERPRETED: tl.constexpr):
    # Triton's interpreter holds a bfloat16 as an integer, and multiplies those.
    return tile.to(tl.float32) if INTERPRETED else tile


@_jit
def _pack_kernel(
    weight, packed, in_channels, out_channels, weight_o, weight_c, weight_t, packed_o, packed_c, packed_t,
    CENTRE: tl.constexpr, STRICT: tl.constexpr, COLOURS: tl.constexpr, GATES: tl.constexpr,
    BLOCK_OUT: tl.constexpr, BLOCK_IN: tl.constexpr,
):  # fmt: skip
    """packed[tap, o, c] = weight[o, c, tap] where it is alive, through their strides."""
    tap = tl.program_id(0)
    out = tl.program_id(1) * BLOCK_OUT + tl.arange(0, BLOCK_OUT)
    source = tl.program_id(2) * BLOCK_IN + tl.arange(0, BLOCK_IN)
    inside = (out < out_channels)[:, None] & (source < in_channels)[None, :]
    tile = tl.load(
        weight + tap * weight_t + out.to(tl.int64)[:, None] * weight_o + source.to(tl.int64)[None, :] * weight_c,
        mask=inside & _alive(
            tap, out[:, None], source[None, :], out_channels, in_channels, CENTRE, STRICT, COLOURS, GATES
        ),
        other=0.0,
    )  # fmt: skip
    packed += tap.to(tl.int64) * packed_t
    tl.store(packed + out.to(tl.int64)[:, None] * packed_o + source.to(tl.int64)[None, :] * packed_c, tile, mask=inside)


@_tiled("BLOCK_PIXELS", "BLOCK_OUT", "BLOCK_IN")
@_jit
def _output_kernel(
    x, weight, bias, y, batch_key, pixels, height, width, in_channels, out_channels,
    x_n, x_c, x_h, x_w, y_n, y_c, y_h, y_w,
    KERNEL_HEIGHT: tl.constexpr, KERNEL_WIDTH: tl.constexpr, TAPS: tl.constexpr,
    RELU: tl.constexpr, HAS_BIAS: tl.constexpr, PRECISION: tl.constexpr, INTERPRETED: tl.constexpr,
    BLOCK_PIXELS: tl.constexpr, BLOCK_OUT: tl.constexpr, BLOCK_IN: tl.constexpr,
):  # fmt: skip
    """y[p, o] = sum over taps and c of x[p + tap, c] weight[tap, c, o]."""
    pixel = tl.program_id(0) * BLOCK_PIXELS + tl.arange(0, BLOCK_PIXELS)
    out = tl.program_id(1) * BLOCK_OUT + tl.arange(0, BLOCK_OUT)
    image, row, column = pixel // (height * width), pixel // width % height, pixel % width

    total = tl.zeros((BLOCK_PIXELS, BLOCK_OUT), tl.float32)
    blocks = tl.cdiv(in_channels, BLOCK_IN)
    for step in range(TAPS * blocks):
        tap = step // blocks
        source = step % blocks * BLOCK_IN + tl.arange(0, BLOCK_IN)
        source_row = row + tap // KERNEL_WIDTH - KERNEL_HEIGHT // 2  # never below the image
        source_column = column + tap % KERNEL_WIDTH - KERNEL_WIDTH // 2
        inside = (pixel < pixels) & (source_row >= 0) & (source_column >= 0) & (source_column < width)
        x_tile = tl.load(
            x + _offset(image, source_row, source_column, x_n, x_h, x_w)[:, None] + source.to(tl.int64)[None, :] * x_c,
            mask=inside[:, None] & (source < in_channels)[None, :],
            other=0.0,
        )
        weight_row = (tap * in_channels + source).to(tl.int64)
        weight_tile = tl.load(
            weight + weight_row[:, None] * out_channels + out[None, :],
            mask=(source < in_channels)[:, None] & (out < out_channels)[None, :],
            other=0.0,
        )
        total = tl.dot(
            _operand(x_tile, INTERPRETED), _operand(weight_tile, INTERPRETED), total, input_precision=PRECISION
        )

    if HAS_BIAS:
        total += tl.load(bias + out, mask=out < out_channels, other=0.0).to(tl.float32)[None, :]
    if RELU:
        total = tl.maximum(total, 0.0, propagate_nan=tl.PropagateNan.ALL)
    tl.store(
        y + _offset(image, row, column, y_n, y_h, y_w)[:, None] + out.to(tl.int64)[None, :] * y_c,
        total.to(y.dtype.element_ty),
        mask=(pixel < pixels)[:, None] & (out < out_channels)[None, :],
    )


@_tiled("BLOCK_PIXELS", "BLOCK_IN", "BLOCK_OUT")
@_jit
def _input_gradient_kernel(
    dy, y, weight, dx, batch_key, pixels, height, width, in_channels, out_channels,
    y_n, y_c, y_h, y_w, x_n, x_c, x_h, x_w,
    KERNEL_HEIGHT: tl.constexpr, KERNEL_WIDTH: tl.constexpr, TAPS: tl.constexpr,
    RELU: tl.constexpr, PRECISION: tl.constexpr, INTERPRETED: tl.constexpr,
    BLOCK_PIXELS: tl.constexpr, BLOCK_OUT: tl.constexpr, BLOCK_IN: tl.constexpr,
):  # fmt: skip
    """dx[p, c] = sum over taps and o of dy[p - tap, o] weight[tap, o, c]; dy and y have the same strides."""
    pixel = tl.program_id(0) * BLOCK_PIXELS + tl.arange(0, BLOCK_PIXELS)
    source = tl.program_id(1) * BLOCK_IN + tl.arange(0, BLOCK_IN)
    image, row, column = pixel // (height * width), pixel // width % height, pixel % width

    total = tl.zeros((BLOCK_PIXELS, BLOCK_IN), tl.float32)
    blocks = tl.cdiv(out_channels, BLOCK_OUT)
    for step in range(TAPS * blocks):
        tap = step // blocks
        out = step % blocks * BLOCK_OUT + tl.arange(0, BLOCK_OUT)
        reader_row = row - tap // KERNEL_WIDTH + KERNEL_HEIGHT // 2  # never above the image
        reader_column = column - tap % KERNEL_WIDTH + KERNEL_WIDTH // 2
        inside = (pixel < pixels) & (reader_row < height) & (reader_column >= 0) & (reader_column < width)
        inside_tile = inside[:, None] & (out < out_channels)[None, :]
        offset = _offset(image, reader_row, reader_column, y_n, y_h, y_w)[:, None] + out.to(tl.int64)[None, :] * y_c
        dy_tile = tl.load(dy + offset, mask=inside_tile, other=0.0)
        if RELU:
            dy_tile = tl.where(tl.load(y + offset, mask=inside_tile, other=0.0) > 0, dy_tile, 0.0)
        weight_row = (tap * out_channels + out).to(tl.int64)
        weight_tile = tl.load(
            weight + weight_row[:, None] * in_channels + source[None, :],
            mask=(out < out_channels)[:, None] & (source < in_channels)[None, :],
            other=0.0,
        )
        total = tl.dot(
            _operand(dy_tile, INTERPRETED), _operand(weight_tile, INTERPRETED), total, input_precision=PRECISION
        )

    tl.store(
        dx + _offset(image, row, column, x_n, x_h, x_w)[:, None] + source.to(tl.int64)[None, :] * x_c,
        total.to(dx.dtype.element_ty),
        mask=(pixel < pixels)[:, None] & (source < in_channels)[None, :],
    )


@_tiled("BLOCK_OUT", "BLOCK_IN", "BLOCK_PIXELS")
@_jit
def _weight_gradient_kernel(
    dy, y, x, dweight, dbias, batch_key, pixels, height, width, in_channels, out_channels,
    y_n, y_c, y_h, y_w, x_n, x_c, x_h, x_w,
    KERNEL_HEIGHT: tl.constexpr, KERNEL_WIDTH: tl.constexpr, TAPS: tl.constexpr,
    STRICT: tl.constexpr, COLOURS: tl.constexpr, GATES: tl.constexpr,
    RELU: tl.constexpr, HAS_BIAS: tl.constexpr, PRECISION: tl.constexpr, INTERPRETED: tl.constexpr,
    BLOCK_PIXELS: tl.constexpr, BLOCK_OUT: tl.constexpr, BLOCK_IN: tl.constexpr,
):  # fmt: skip
    """dweight[part, tap, o, c] = sum over a part's pixels of dy[p, o] x[p + tap, c], and dbias[part, o] of dy[p, o]."""
    blocks = tl.cdiv(in_channels, BLOCK_IN)
    out = tl.program_id(0) // blocks * BLOCK_OUT + tl.arange(0, BLOCK_OUT)
    source = tl.program_id(0) % blocks * BLOCK_IN + tl.arange(0, BLOCK_IN)
    tap, part, parts = tl.program_id(1), tl.program_id(2), tl.num_programs(2)
    sums_bias = (tap == 0) & (tl.program_id(0) % blocks == 0)

    total = tl.zeros((BLOCK_OUT, BLOCK_IN), tl.float32)
    total_bias = tl.zeros((BLOCK_OUT,), tl.float32)
    part_pixels = tl.cdiv(pixels, parts)
    end = tl.minimum((part + 1) * part_pixels, pixels)
    for start in range(part * part_pixels, end, BLOCK_PIXELS):
        pixel = start + tl.arange(0, BLOCK_PIXELS)
        image, row, column = pixel // (height * width), pixel // width % height, pixel % width
        inside_tile = (out < out_channels)[:, None] & (pixel < end)[None, :]
        offset = out.to(tl.int64)[:, None] * y_c + _offset(image, row, column, y_n, y_h, y_w)[None, :]
        dy_tile = tl.load(dy + offset, mask=inside_tile, other=0.0)
        if RELU:
            dy_tile = tl.where(tl.load(y + offset, mask=inside_tile, other=0.0) > 0, dy_tile, 0.0)
        if HAS_BIAS:
            if sums_bias:
                total_bias += tl.sum(dy_tile.to(tl.float32), 1)
        source_row = row + tap // KERNEL_WIDTH - KERNEL_HEIGHT // 2
        source_column = column + tap % KERNEL_WIDTH - KERNEL_WIDTH // 2
        inside = (pixel < end) & (source_row >= 0) & (source_column >= 0) & (source_column < width)
        x_tile = tl.load(
            x + _offset(image, source_row, source_column, x_n, x_h, x_w)[:, None] + source.to(tl.int64)[None, :] * x_c,
            mask=inside[:, None] & (source < in_channels)[None, :],
            other=0.0,
        )
        total = tl.dot(_operand(dy_tile, INTERPRETED), _operand(x_tile, INTERPRETED), total, input_precision=PRECISION)

    if COLOURS > 1:
        alive = _alive(
            tap, out[:, None], source[None, :], out_channels, in_channels,
            KERNEL_HEIGHT * KERNEL_WIDTH // 2, STRICT, COLOURS, GATES,
        )  # fmt: skip
        total = tl.where(alive, total, 0.0)
    dweight_row = (part * TAPS + tap).to(tl.int64) * out_channels + out
    tl.store(
        dweight + dweight_row[:, None] * in_channels + source[None, :],
        total,
        mask=(out < out_channels)[:, None] & (source < in_channels)[None, :],
    )
    if HAS_BIAS:
        if sums_bias:
            tl.store(dbias + part.to(tl.int64) * out_channels + out, total_bias, mask=out < out_channels)


def why_not(input: Tensor) -> str | None:
    """None if the kernels run on this tensor, else the reason."""
    if triton is None:
        return _WHY_NO_TRITON
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
    return triton.next_power_of_2(n), n * height * width, height, width, in_channels, weight.shape[0]


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
    grid = taps, triton.cdiv(out_channels, _PACKED_TILE), triton.cdiv(in_channels, _PACKED_TILE)
    _pack_kernel[grid](
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
        _output_kernel.launch(
            Gemm(pixels, out_channels, in_channels),
            lambda tiles: (triton.cdiv(pixels, tiles["BLOCK_PIXELS"]), triton.cdiv(out_channels, tiles["BLOCK_OUT"])),
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
        _input_gradient_kernel.launch(
            Gemm(pixels, in_channels, weight.shape[0]),
            lambda tiles: (triton.cdiv(pixels, tiles["BLOCK_PIXELS"]), triton.cdiv(in_channels, tiles["BLOCK_IN"])),
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
    programs = taps * triton.cdiv(out_channels, 64) * triton.cdiv(in_channels, 64)
    parts = max(1, min(_PROGRAMS // programs, pixels // _FEWEST_PIXELS))
    dweights = input.new_empty((parts, taps, out_channels, in_channels), dtype=torch.float32)
    dbiases = input.new_empty((parts, out_channels), dtype=torch.float32) if need_bias else None
    with launches_on(input):
        _weight_gradient_kernel.launch(
            Gemm(out_channels, in_channels, triton.cdiv(pixels, parts), taps * parts),
            lambda tiles: (
                triton.cdiv(out_channels, tiles["BLOCK_OUT"]) * triton.cdiv(in_channels, tiles["BLOCK_IN"]),
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
