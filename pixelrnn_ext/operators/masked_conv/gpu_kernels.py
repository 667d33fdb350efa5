"""Triton kernels of the masked convolution: implicit matrix products over the taps that the mask leaves alive.

A tap is a position of the convolution's kernel. The taps before the centre in raster order are alive. The centre is
alive, too, except with mask A and one colour. A masked copy of the weight makes loads coalesced.

Pixel indices are int32, because splitting an int64 into image, row and column is slow. Memory offsets are int64.
"""

# Keeps annotations unevaluated, because tl.constexpr is missing without Triton.
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .gpu_tiles import TiledKernel

WHY_NO_TRITON: str | None = None
try:
    import triton
    import triton.language as tl
except ImportError as _error:
    triton = None
    WHY_NO_TRITON = f"the masked convolution's GPU kernels need Triton: {_error}"


def _jit(function: Callable[..., Any], **options: Any) -> Any:
    return triton.jit(function, **options) if triton else function


def _tiled(rows: str, columns: str, depth: str) -> Callable[[Any], TiledKernel]:
    """Returns a decorator that makes a TiledKernel of a function.

    ``rows``, ``columns`` and ``depth`` are the names of the function's parameters for the sides of a tile.
    """
    # The autotuner measures once for each combination of the arguments that ``key`` names. The strides x_c and y_c are
    # among them, because they differ between NCHW and channels_last.
    key = ["batch_key", "height", "width", "in_channels", "out_channels", "TAPS", "x_c", "y_c", "PRECISION"]
    return lambda code: TiledKernel(_jit(code, do_not_specialize=["pixels", "batch_key"]), rows, columns, depth, key)


@_jit
def _colour(channel, channels, COLOURS: tl.constexpr):
    """Returns the colour of a channel. The result must agree with masks.colour_groups."""
    size = channels // COLOURS
    larger = channels % COLOURS
    in_larger = channel < larger * (size + 1)
    return tl.where(in_larger, channel // (size + 1), (channel - larger) // size)


@_jit
def _alive(
    tap, out, source, out_channels, in_channels,
    CENTRE: tl.constexpr, MASK_A: tl.constexpr, COLOURS: tl.constexpr, GATES: tl.constexpr,
):  # fmt: skip
    """``tap`` must not be after the kernel's centre."""
    per_gate = out_channels // GATES
    colour_out = _colour(out % per_gate, per_gate, COLOURS)
    # Before the centre all colours are alive, so colour_in becomes smaller than every colour_out.
    colour_in = _colour(source, in_channels, COLOURS) - (tap < CENTRE).to(tl.int32) * COLOURS
    if MASK_A:
        return colour_in < colour_out
    return colour_in <= colour_out


@_jit
def _offset(image, row, column, stride_n, stride_h, stride_w):
    return image.to(tl.int64) * stride_n + row.to(tl.int64) * stride_h + column.to(tl.int64) * stride_w


@_jit
def _dot(a, b, total, PRECISION: tl.constexpr, INTERPRETED: tl.constexpr):
    if INTERPRETED:  # Triton's interpreter would multiply bfloat16 bits as integers
        a, b = a.to(tl.float32), b.to(tl.float32)
    return tl.dot(a, b, total, input_precision=PRECISION)


@_jit
def pack_kernel(
    weight, packed, in_channels, out_channels, weight_o, weight_c, weight_t, packed_o, packed_c, packed_t,
    CENTRE: tl.constexpr, MASK_A: tl.constexpr, COLOURS: tl.constexpr, GATES: tl.constexpr,
    BLOCK_OUT: tl.constexpr, BLOCK_IN: tl.constexpr,
):  # fmt: skip
    """Computes packed[tap, o, c] = weight[o, c, tap] where the mask is 1, else 0."""
    tap = tl.program_id(0)
    out = tl.program_id(1) * BLOCK_OUT + tl.arange(0, BLOCK_OUT)
    source = tl.program_id(2) * BLOCK_IN + tl.arange(0, BLOCK_IN)
    inside = (out < out_channels)[:, None] & (source < in_channels)[None, :]
    tile = tl.load(
        weight + tap * weight_t + out.to(tl.int64)[:, None] * weight_o + source.to(tl.int64)[None, :] * weight_c,
        mask=inside & _alive(
            tap, out[:, None], source[None, :], out_channels, in_channels, CENTRE, MASK_A, COLOURS, GATES
        ),
        other=0.0,
    )  # fmt: skip
    packed += tap.to(tl.int64) * packed_t
    tl.store(packed + out.to(tl.int64)[:, None] * packed_o + source.to(tl.int64)[None, :] * packed_c, tile, mask=inside)


@_tiled("BLOCK_PIXELS", "BLOCK_OUT", "BLOCK_IN")
def output_kernel(
    x, weight, bias, y, batch_key, pixels, height, width, in_channels, out_channels,
    x_n, x_c, x_h, x_w, y_n, y_c, y_h, y_w,
    KERNEL_HEIGHT: tl.constexpr, KERNEL_WIDTH: tl.constexpr, TAPS: tl.constexpr,
    RELU: tl.constexpr, HAS_BIAS: tl.constexpr, PRECISION: tl.constexpr, INTERPRETED: tl.constexpr,
    BLOCK_PIXELS: tl.constexpr, BLOCK_OUT: tl.constexpr, BLOCK_IN: tl.constexpr,
):  # fmt: skip
    """Computes y[p, o] = sum over taps and c of x[p + tap, c] weight[tap, c, o], plus the bias, then the ReLU."""
    pixel = tl.program_id(0) * BLOCK_PIXELS + tl.arange(0, BLOCK_PIXELS)
    out = tl.program_id(1) * BLOCK_OUT + tl.arange(0, BLOCK_OUT)
    image, row, column = pixel // (height * width), pixel // width % height, pixel % width

    total = tl.zeros((BLOCK_PIXELS, BLOCK_OUT), tl.float32)
    blocks = tl.cdiv(in_channels, BLOCK_IN)
    for step in range(TAPS * blocks):
        tap = step // blocks
        source = step % blocks * BLOCK_IN + tl.arange(0, BLOCK_IN)
        # A tap is in the pixel's row or above, so source_row < height.
        source_row = row + tap // KERNEL_WIDTH - KERNEL_HEIGHT // 2
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
        total = _dot(x_tile, weight_tile, total, PRECISION, INTERPRETED)

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
def input_gradient_kernel(
    dy, y, weight, dx, batch_key, pixels, height, width, in_channels, out_channels,
    y_n, y_c, y_h, y_w, x_n, x_c, x_h, x_w,
    KERNEL_HEIGHT: tl.constexpr, KERNEL_WIDTH: tl.constexpr, TAPS: tl.constexpr,
    RELU: tl.constexpr, PRECISION: tl.constexpr, INTERPRETED: tl.constexpr,
    BLOCK_PIXELS: tl.constexpr, BLOCK_OUT: tl.constexpr, BLOCK_IN: tl.constexpr,
):  # fmt: skip
    """Computes dx[p, c] = sum over taps and o of dy[p - tap, o] weight[tap, o, c]. y and dy have equal strides."""
    pixel = tl.program_id(0) * BLOCK_PIXELS + tl.arange(0, BLOCK_PIXELS)
    source = tl.program_id(1) * BLOCK_IN + tl.arange(0, BLOCK_IN)
    image, row, column = pixel // (height * width), pixel // width % height, pixel % width

    total = tl.zeros((BLOCK_PIXELS, BLOCK_IN), tl.float32)
    blocks = tl.cdiv(out_channels, BLOCK_OUT)
    for step in range(TAPS * blocks):
        tap = step // blocks
        out = step % blocks * BLOCK_OUT + tl.arange(0, BLOCK_OUT)
        # The pixels that read a pixel are not above it, so reader_row >= 0.
        reader_row = row - tap // KERNEL_WIDTH + KERNEL_HEIGHT // 2
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
        total = _dot(dy_tile, weight_tile, total, PRECISION, INTERPRETED)

    tl.store(
        dx + _offset(image, row, column, x_n, x_h, x_w)[:, None] + source.to(tl.int64)[None, :] * x_c,
        total.to(dx.dtype.element_ty),
        mask=(pixel < pixels)[:, None] & (source < in_channels)[None, :],
    )


@_tiled("BLOCK_OUT", "BLOCK_IN", "BLOCK_PIXELS")
def weight_gradient_kernel(
    dy, y, x, dweight, dbias, batch_key, pixels, height, width, in_channels, out_channels,
    y_n, y_c, y_h, y_w, x_n, x_c, x_h, x_w,
    KERNEL_HEIGHT: tl.constexpr, KERNEL_WIDTH: tl.constexpr, TAPS: tl.constexpr,
    MASK_A: tl.constexpr, COLOURS: tl.constexpr, GATES: tl.constexpr,
    RELU: tl.constexpr, HAS_BIAS: tl.constexpr, PRECISION: tl.constexpr, INTERPRETED: tl.constexpr,
    BLOCK_PIXELS: tl.constexpr, BLOCK_OUT: tl.constexpr, BLOCK_IN: tl.constexpr,
):  # fmt: skip
    """Computes dweight[part, tap, o, c], the sum of dy[p, o] x[p + tap, c] over the pixels p of a part."""
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
        total = _dot(dy_tile, x_tile, total, PRECISION, INTERPRETED)

    if COLOURS > 1:
        alive = _alive(
            tap, out[:, None], source[None, :], out_channels, in_channels,
            KERNEL_HEIGHT * KERNEL_WIDTH // 2, MASK_A, COLOURS, GATES,
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
