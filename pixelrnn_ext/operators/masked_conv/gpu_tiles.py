"""Chooses the tile sizes of the masked convolution's GPU kernels, by a fixed rule or by measuring.

The fixed rule depends on the sizes of the matrix products alone, so a resumed training computes the same bits. With
``PIXELRNN_TUNE_TILES=1`` Triton's autotuner measures the tiles once for each shape. Two runs may then differ in the
last bits. torch.use_deterministic_algorithms(True) prevents measuring.
"""

import ctypes
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, cached_property
from typing import Any, NamedTuple

import torch

try:
    import triton
except ImportError:
    triton = None

_setting = os.environ.get("PIXELRNN_TUNE_TILES", "")
if _setting not in ("", "0", "1"):
    raise ValueError(f"expected PIXELRNN_TUNE_TILES to be 0 or 1, got {_setting!r}")
AUTOTUNE = _setting == "1"


class Tiles(NamedTuple):
    rows: int
    columns: int
    depth: int
    warps: int
    stages: int


class Gemm(NamedTuple):
    """The sizes of ``number`` matrix products that one launch computes, each (rows, depth) by (depth, columns)."""

    rows: int
    columns: int
    depth: int
    number: int = 1


INTERPRETED = triton is not None and triton.knobs.runtime.interpret
TILES: tuple[Tiles, ...] = (
    Tiles(64, 64, 32, 4, 4),
    Tiles(64, 64, 64, 4, 3),
    Tiles(128, 64, 32, 4, 3),
    Tiles(128, 128, 32, 8, 3),
    Tiles(64, 32, 32, 4, 4),
    Tiles(64, 64, 16, 4, 3),
    Tiles(128, 16, 32, 4, 3),
)
if INTERPRETED:
    TILES = (Tiles(32, 16, 16, 4, 1),)  # so that even a small test needs several tiles

# The estimated cost of a kernel assumes that the GPU runs this number of Triton programs (thread blocks) at once. The
# number is the same for every GPU, so that all GPUs use the same tiles.
_CONCURRENT_PROGRAMS = 128
_LOAD_COST = 32  # in multiplications


def choose_tiles(gemm: Gemm, value_bytes: int, shared_memory: int) -> Tiles:
    """Returns the tiles of lowest cost, in multiplications and loads.

    ``shared_memory`` (bytes) limits the number of pipeline stages, which does not change the result's bits.
    """

    def cost(tiles: Tiles) -> int:
        programs = ceil_div(gemm.rows, tiles.rows) * ceil_div(gemm.columns, tiles.columns) * gemm.number
        step = tiles.rows * tiles.columns + _LOAD_COST * (tiles.rows + tiles.columns)
        return ceil_div(programs, _CONCURRENT_PROGRAMS) * ceil_div(gemm.depth, tiles.depth) * tiles.depth * step

    best = min(TILES, key=cost)
    # A stage of the kernel's pipeline holds one tile of each operand. The size counts the tile's rows twice, because
    # the backward of a convolution with a ReLU loads the output and the output's gradient.
    stage = (2 * best.rows + best.columns) * best.depth * value_bytes
    return best._replace(stages=max(1, min(best.stages, shared_memory // stage)))


def ceil_div(a: int, b: int) -> int:
    return -(-a // b)


Grid = Callable[[dict[str, int]], tuple[int, ...]]


class TiledKernel:
    """A Triton kernel whose tile sizes are chosen at each launch.

    ``rows``, ``columns`` and ``depth`` name the arguments for the sides of a tile. The autotuner measures once for each
    combination of the arguments in ``key``.
    """

    kernel: Any

    def __init__(self, kernel: Any, rows: str, columns: str, depth: str, key: list[str]) -> None:
        self.kernel, self._names, self._key = kernel, (rows, columns, depth), key
        self._tuned: set[tuple[object, ...]] = set()

    @cached_property
    def tuner(self) -> Any:
        configs = [triton.Config(self.sizes(t), num_warps=t.warps, num_stages=t.stages) for t in TILES]
        return triton.autotune(configs, self._key)(self.kernel)

    def sizes(self, tiles: Tiles) -> dict[str, int]:
        return dict(zip(self._names, tiles))

    def launch(self, gemm: Gemm, grid: Grid, *args: Any, **constants: Any) -> None:
        """``grid`` computes the launch grid from the sides of a tile, by name."""
        if AUTOTUNE and not torch.are_deterministic_algorithms_enabled():
            arguments = {**dict(zip(self.kernel.arg_names, args)), **constants}
            shape = *(arguments[name] for name in self._key), *(a.dtype for a in args if isinstance(a, torch.Tensor))
            # The autotuner waits for the GPU, so it must not run during the capture of a CUDA graph.
            if shape in self._tuned or not _is_capturing(args[0]):
                self._tuned.add(shape)
                self.tuner[grid](*args, **constants)
                return
        tiles = choose_tiles(gemm, args[0].element_size(), _shared_memory(args[0].device))
        sizes = self.sizes(tiles)
        self.kernel[grid(sizes)](*args, **constants, **sizes, num_warps=tiles.warps, num_stages=tiles.stages)


@cache
def _shared_memory(device: torch.device) -> int:
    # Triton's interpreter on a CPU does not limit the shared memory.
    if device.type != "cuda":
        return sys.maxsize
    return triton.compiler.max_shared_mem(device.index)


def _is_capturing(tensor: torch.Tensor) -> bool:
    return tensor.is_cuda and torch.cuda.is_current_stream_capturing()


@contextmanager
def launch_context(tensor: torch.Tensor) -> Iterator[None]:
    """Makes the tensor's device current.

    During the capture of a CUDA graph, sets relaxed mode, in which a kernel's first launch may load its code.
    """
    with torch.cuda.device_of(tensor):
        if not _is_capturing(tensor):
            yield
            return
        mode = ctypes.c_int(2)  # CU_STREAM_CAPTURE_MODE_RELAXED
        _exchange_capture_mode(mode)
        try:
            yield
        finally:
            _exchange_capture_mode(mode)


def _exchange_capture_mode(mode: ctypes.c_int) -> None:
    driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    if status := driver.cuThreadExchangeStreamCaptureMode(ctypes.byref(mode)):
        raise RuntimeError(f"the mode of the capture cannot be changed: CUDA driver error {status}")
