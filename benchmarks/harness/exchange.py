"""Measures an exchange of values between the blocks of a cluster, and a kernel launch, for the planner's estimates."""

import ctypes
import statistics
import sys
from pathlib import Path
from typing import NamedTuple

import torch

from pixelrnn_ext.benchmark.children import CANNOT_RUN, Ended
from pixelrnn_ext.benchmark.gpu import called_seconds

from .clocks import DeviceClock

sys.path.append(str(Path(__file__).resolve().parents[2] / "build_tools"))

import device_code

KERNEL = Path(__file__).with_name("exchange.cu")
THREADS, LINES = 256, 1024
MAX_SHARED_MEMORY = 8  # CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
REPEATS = 7  # launches, the first of which only warms up


class Exchange(NamedTuple):
    """The values that a cluster's blocks send each other on each line of a scan.

    Each block stores ``rows`` x ``columns`` pieces of 16 bytes in each other block. Eight lanes of a warp store pieces
    of eight rows. Strides are in bytes.
    """

    blocks: int
    rows: int
    columns: int
    row_stride: int
    column_stride: int
    block_stride: int
    buffer_bytes: int

    @property
    def pieces(self) -> int:
        return self.rows * self.columns * (self.blocks - 1)


class Args(ctypes.Structure):
    """The struct Args of exchange.cu."""

    _fields_ = [("cycles", ctypes.c_void_p), ("is_right", ctypes.c_void_p)]
    _fields_ += [(name, ctypes.c_int) for name in ("lines", *Exchange._fields[1:])]


def forward(blocks: int, images: int = 1) -> Exchange:
    """Describes how the blocks of a cluster exchange hidden states in a forward kernel with 128 hidden units.

    On each line of the scan, a block sends the bfloat16 values of its 128 / ``blocks`` hidden units at 32 pixels of
    each image to all other blocks. The strides are from csrc/cuda/scan/tiling.h.
    """
    columns, cells = 16 // blocks, 32 * images
    chunk = 16 * (cells + 8)
    return Exchange(blocks, cells, columns, 16, chunk, columns * chunk, 16 * chunk)


def backward(blocks: int) -> Exchange:
    """Describes how the blocks of a cluster exchange gradients in a backward kernel with 128 hidden units.

    On each line of the scan, each block sends float32 partial sums of the gradients of hidden states at 32 pixels to
    all other blocks. A block holds the sums that it receives as [segment][rank of the sender] (tiling.h). The
    eight pieces of a segment count as rows.
    """
    segments = 128 // blocks
    return Exchange(blocks, 8, segments, 16, 128 * blocks, 128, 128 * blocks * segments)


EXCHANGES = {
    **{f"least, {blocks} blocks": Exchange(blocks, 8, 1, 16, 0, 128, 128 * blocks) for blocks in (2, 4, 8)},
    **{f"forward h128, {blocks} blocks": forward(blocks) for blocks in (2, 4, 8)},
    "forward h128 of 4 images, 8 blocks": forward(8, images=4),
    **{f"backward h128, {blocks} blocks": backward(blocks) for blocks in (2, 4, 8)},
}


def compile_kernel(architecture: str) -> tuple[bytes, str]:
    nvrtc = device_code.compiler_for([architecture])
    machine_code, _, log = nvrtc.compile(KERNEL, f"sm_{device_code.arch_of(architecture)}")
    return machine_code, log


class Gpu:
    """Launches the kernels of exchange.cu in torch's CUDA context. Tests pass the emulator's driver as ``library``."""

    def __init__(self, machine_code: bytes, device: str = "cuda", library: str = "libcuda.so.1"):
        # The driver needs a CUDA context, which torch creates with its first tensor.
        self._cycles = torch.zeros(8, dtype=torch.int64, device=device)
        self._is_right = torch.zeros(8 * THREADS, dtype=torch.int32, device=device)
        self._library, self._module = ctypes.CDLL(library), ctypes.c_void_p()
        self._call("cuModuleLoadData", ctypes.byref(self._module), machine_code)

    def _call(self, name: str, *arguments) -> None:
        if error := getattr(self._library, name)(*arguments):
            text = ctypes.c_char_p()
            self._library.cuGetErrorString(error, ctypes.byref(text))
            raise RuntimeError(f"{name}: {text.value.decode() if text.value else f'error {error}'}")

    def launch(self, e: Exchange, lines: int) -> None:
        function, shared_memory = ctypes.c_void_p(), 2 * e.buffer_bytes + 16
        arguments = Args(self._cycles.data_ptr(), self._is_right.data_ptr(), lines, *e[1:])
        self._call("cuModuleGetFunction", ctypes.byref(function), self._module, f"exchange_{e.blocks}".encode())
        self._call("cuFuncSetAttribute", function, MAX_SHARED_MEMORY, shared_memory)
        size = e.blocks, 1, 1, THREADS, 1, 1, shared_memory
        self._call("cuLaunchKernel", function, *size, None, (ctypes.c_void_p * 1)(ctypes.addressof(arguments)), None)

    def run(self, e: Exchange, lines: int = LINES, repeats: int = REPEATS) -> dict:
        times = []
        for _ in range(repeats):
            self._is_right.zero_()
            self.launch(e, lines)
            right = int(self._is_right.sum())
            if right != e.blocks * THREADS:
                raise RuntimeError(f"expected {e.blocks * THREADS} threads with all pieces, got {right}")
            times.append(int(self._cycles[: e.blocks].max()) / lines)
        return {"blocks": e.blocks, "pieces": e.pieces, "measured": statistics.median_high(times[1:])}


def launch() -> dict:
    """Returns the mean microseconds of a tiny kernel, without and with its launch."""
    one = torch.zeros(1, device="cuda")
    function = lambda: one.add_(1)  # noqa: E731
    return {"measured": 1e6 * DeviceClock(calls=100)(function), "called": 1e6 * called_seconds(function, 100)}


def exchange(name: str) -> dict:
    capability = torch.cuda.get_device_capability()
    version = "{}.{}".format(*capability)
    if capability < (9, 0):
        raise Ended(CANNOT_RUN, f"expected compute capability 9.0 or later, got {version}")
    return Gpu(compile_kernel(version)[0]).run(EXCHANGES[name])
