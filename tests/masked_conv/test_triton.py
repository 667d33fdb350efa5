"""Runs the masked convolution's Triton kernels under Triton's interpreter, without a GPU.

Also compiles them for GPUs, since the compiler refuses code that the interpreter accepts.
"""

import math
import multiprocessing
import re
from concurrent.futures import ProcessPoolExecutor

import pytest
import torch

from helpers import child, masked_conv_interpreted

triton = pytest.importorskip("triton", reason="the masked convolution's GPU kernels need Triton")

from pixelrnn_ext.operators.masked_conv import gpu  # noqa: E402
from pixelrnn_ext.operators.masked_conv import gpu_kernels as kernels  # noqa: E402
from pixelrnn_ext.operators.masked_conv.gpu_tiles import TILES, Gemm, choose_tiles  # noqa: E402

KERNEL_SIZES = [(1, 1), (3, 3), (7, 7), (1, 3)]
# (N, in channels, out channels, H, W). Three colours get unequal numbers of channels, and a kernel's last tile is
# partly empty.
SIZES = (1, 5, 20, 5, 7)


def with_ids(values):
    return [pytest.param(value, id="-".join(map(str, value))) for value in values]


@pytest.fixture(scope="module")
def interpreted():
    """Runs functions of masked_conv_interpreted.py in another process, as Triton reads TRITON_INTERPRET only once."""

    def call(name, *args, **kwargs):
        return pool.submit(getattr(masked_conv_interpreted, name), *args, **kwargs).result()

    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TRITON_INTERPRET", "1")
            assert call("is_interpreted"), "TRITON_INTERPRET=1 had no effect"
        yield call


@pytest.mark.covering(2)
@pytest.mark.parametrize("gates", [1, 4])
@pytest.mark.parametrize("colours", [1, 3])
@pytest.mark.parametrize("mask_type", ["A", "B"])
@pytest.mark.parametrize("kernel_size", with_ids(KERNEL_SIZES))
def test_output_and_gradients(interpreted, kernel_size, mask_type, colours, gates):
    mask = mask_type, colours, gates
    slow = kernel_size[0] > 3  # each check of a large kernel takes seconds
    if not slow or gates == 1:
        interpreted("check", kernel_size, mask, SIZES, relu=True)
    if not slow or gates > 1:
        interpreted("check", kernel_size, mask, SIZES, has_bias=False, channels_last=True)


small_kernels = pytest.mark.parametrize("kernel_size", with_ids([(1, 1), (3, 3)]))
formats = pytest.mark.parametrize("channels_last", [False, True], ids=["NCHW", "channels_last"])


@pytest.mark.covering(2)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@small_kernels
@pytest.mark.parametrize("mask", with_ids([("A", 3, 4), ("B", 1, 1)]))
def test_halves(interpreted, dtype, mask, kernel_size):
    interpreted("check", kernel_size, mask, SIZES, relu=True, dtype=dtype)


FEW_PIXELS = [(1, 3, 4, 1, 1), (1, 4, 5, 9, 1), (3, 3, 35, 1, 11), (2, 35, 3, 3, 4), (0, 3, 6, 4, 5)]
ONE_CHANNEL = [(2, 1, 1, 4, 5), (2, 1, 6, 4, 5), (2, 6, 1, 4, 5)]


@pytest.mark.covering(2)
@formats
@small_kernels
@pytest.mark.parametrize("sizes", with_ids([*FEW_PIXELS, *ONE_CHANNEL]))
def test_sizes(interpreted, sizes, kernel_size, channels_last):
    mask = "B", 3 if kernel_size == (3, 3) and sizes in FEW_PIXELS else 1, 1
    interpreted("check", kernel_size, mask, sizes, relu=True, channels_last=channels_last)


@formats
@small_kernels
def test_slice_of_a_larger_map(interpreted, kernel_size, channels_last):
    interpreted("check", kernel_size, ("B", 1, 1), SIZES, channels_last=channels_last, strided=True)


@pytest.mark.sweep
@pytest.mark.parametrize("mask_type", ["A", "B"])
def test_5_x_5(interpreted, mask_type):
    interpreted("check", (5, 5), (mask_type, 3, 4), SIZES, relu=mask_type == "A")


@pytest.mark.parametrize("check", ["check_subsets", "check_parts", "check_refused", "check_a_capture"])
def test_interpreted(interpreted, check):
    interpreted(check)


FORMATS = {"fp32": ("fp32", "ieee"), "tf32": ("fp32", "tf32"), "bf16": ("bf16", "ieee"), "fp16": ("fp16", "ieee")}
FP32_POINTERS = {"dweight", "dbias"}  # partial sums of these gradients are float32
POINTERS = {"x", "y", "dx", "dy", "weight", "packed", "bias"} | FP32_POINTERS
TENSOR_CORES = {80: r"mma\.sync", 90: r"wgmma\.mma_async"}
each_arch = pytest.mark.parametrize("arch", TENSOR_CORES)
COLOURS = {"MASK_A": False, "COLOURS": 3, "GATES": 4}


def compiled(function, arch, dtype, constants, warps=4, stages=3):
    from triton.backends.compiler import GPUTarget

    constants = {name: value for name, value in constants.items() if name in function.arg_names}
    signature = {
        name: "constexpr" if name in constants
        else "*fp32" if name in FP32_POINTERS
        else f"*{dtype}" if name in POINTERS
        else "i32"
        for name in function.arg_names
    }  # fmt: skip
    source = triton.compiler.ASTSource(function, signature, constants)
    kernel = triton.compile(source, GPUTarget("cuda", arch, 32), {"num_warps": warps, "num_stages": stages})
    assert f".target sm_{arch}" in kernel.asm["ptx"]
    return kernel


def constants_of(tiled, tiles, precision):
    return {
        "KERNEL_HEIGHT": 3, "KERNEL_WIDTH": 3, "TAPS": 5, **COLOURS,
        "RELU": True, "HAS_BIAS": True, "PRECISION": precision, "INTERPRETED": False, **tiled.sizes(tiles),
    }  # fmt: skip


@pytest.mark.covering(2)
@formats
@pytest.mark.parametrize("format", FORMATS)
@each_arch
@pytest.mark.parametrize("kernel", ["output_kernel", "input_gradient_kernel", "weight_gradient_kernel"])
def test_compiles_ahead_of_time(kernel, arch, format, channels_last):
    dtype, precision = FORMATS[format]
    tiled = getattr(kernels, kernel)
    constants = constants_of(tiled, min(TILES, key=lambda tiles: math.prod(tiles[:3])), precision)
    axis = "c" if channels_last else "w"
    constants |= {f"x_{axis}": 1, f"y_{axis}": 1}  # Triton makes each argument of value 1 a constant
    ptx = compiled(tiled.kernel, arch, dtype, constants).asm["ptx"]
    assert bool(re.search(TENSOR_CORES[arch], ptx)) == (format != "fp32")
    assert ("tf32" in ptx) == (format == "tf32")


@pytest.mark.parametrize("kernel", ["output_kernel", "weight_gradient_kernel"])
@pytest.mark.parametrize("arch", [80, 90])
def test_the_largest_tiles_fit_the_smallest_shared_memory(arch, kernel):
    """A block on a GPU of compute capability 8.6 has 99 KB of shared memory."""
    tiled, shared = getattr(kernels, kernel), 99 << 10
    tiles = choose_tiles(Gemm(10**6, 512, 512), 4, shared)
    assert tiles[:3] == (128, 128, 32)
    constants = constants_of(tiled, tiles, "ieee") | {"x_c": 1, "y_c": 1}
    assert compiled(tiled.kernel, arch, "fp32", constants, tiles.warps, tiles.stages).metadata.shared <= shared


@pytest.mark.parametrize("dtype", ["fp32", "bf16", "fp16"])
@each_arch
def test_the_packing_compiles_ahead_of_time(arch, dtype):
    compiled(kernels.pack_kernel, arch, dtype, {"CENTRE": 4, **COLOURS, "BLOCK_OUT": 32, "BLOCK_IN": 32})


def test_a_cpu_tensor_has_a_reason():
    assert "CUDA tensor" in gpu.why_not(torch.empty(1, 1, 1, 1))


def test_without_triton(tmp_path):
    command = """if True:
        import sys, torch, pixelrnn_ext
        assert "pixelrnn_ext.operators.masked_conv.gpu" not in sys.modules
        sys.modules["triton"] = None
        from pixelrnn_ext.operators.masked_conv import gpu
        assert "need Triton" in gpu.why_not(torch.empty(1, 1, 1, 1))
    """
    done = child.python("-c", command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
