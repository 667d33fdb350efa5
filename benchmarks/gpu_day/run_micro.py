"""Compiles and runs the microbenchmarks, in a process that may crash or hang."""

import ctypes
import re
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from . import ROOT
from .driver import Driver

sys.path.append(str(ROOT / "build_tools"))
import device_code

KERNELS = Path(__file__).resolve().parent / "microbenchmarks" / "kernels.cu"
MEMORY_WORDS, MOST_BLOCKS = 1 << 19, 1024  # as in kernels.h
REPEATS = 7  # the first one warms up


class Args(ctypes.Structure):
    """The Args of kernels.h."""

    _fields_ = [("cycles", ctypes.c_void_p), ("memory", ctypes.c_void_p), ("steps", ctypes.c_int)]


class Benchmark(NamedTuple):
    name: str
    blocks: int
    threads: int
    steps: int

    @property
    def is_error(self) -> bool:
        """Whether the largest error is measured instead of a time."""
        return self.name.endswith("_error")

    @property
    def cluster(self) -> int:
        """Blocks of a cluster."""
        return 1 if self.is_error else self.blocks

    @property
    def needs_clusters(self) -> bool:
        """Whether it uses clusters, or the barriers that came with them."""
        return self.cluster > 1 or self.name.startswith("wait")


@cache
def benchmarks() -> dict[str, Benchmark]:
    """Returns all microbenchmarks by name, in the order of kernels.cu."""
    rows = re.findall(r"^KERNEL\((\w+), (\d+), (\d+), (\d+), ", KERNELS.read_text(), re.MULTILINE)
    return {name: Benchmark(name, *map(int, numbers)) for name, *numbers in rows}


def compile_kernels(architecture: str) -> tuple[bytes, str]:
    """Returns the machine code of kernels.cu for an architecture such as 9.0, and what NVRTC printed."""
    found = list(device_code.find())
    arch = architecture.replace(".", "")
    for nvrtc in found:
        if arch in nvrtc.archs:
            machine_code, _, log = nvrtc.compile(KERNELS, f"sm_{arch}")
            return machine_code, log
    known, packages = ", ".join(nvrtc.version for nvrtc in found) or "none", " ".join(device_code.PACKAGES)
    raise RuntimeError(f"expected an NVRTC that compiles for {architecture}, got {known}: pip install {packages}")


def check_values(b: Benchmark, memory: np.ndarray) -> None:
    """Raises RuntimeError where the exchanged values are not those that were sent."""
    trips, exchange = b.name.startswith("round_trip"), b.name.startswith("exchange")
    count = b.blocks // 2 if trips else b.blocks * b.threads if exchange else 0
    wanted = 2 * b.steps if trips else 1
    for i, value in enumerate(memory[:count].tolist()):
        if value != wanted:
            raise RuntimeError(f"{b.name}: expected {wanted} at {i}, got {value}")


class Gpu:
    """Runs microbenchmarks on a GPU of a major compute capability. Tests have the emulator instead of it."""

    def __init__(self, machine_code: bytes, capability: int, device: str = "cuda", library: str = "libcuda.so.1"):
        import torch  # here, since a process that only compiles needs none

        self._capability = capability
        # First the tensors: they make the context that the driver loads the code into.
        self._cycles = torch.zeros(MOST_BLOCKS, dtype=torch.int64, device=device)
        self._memory = torch.zeros(MEMORY_WORDS, dtype=torch.int32, device=device)
        self._driver = Driver(machine_code, library)

    def run(self, b: Benchmark, repeats: int = REPEATS) -> dict:
        """Returns {"name", "cycles", "least", "most"}, {"name", "ulp"} or why the GPU cannot run it."""
        if b.needs_clusters and self._capability < 9:
            note = f"expected compute capability 9.0 or later, got {self._capability}"
            return {"name": b.name, "status": "cannot run", "note": note}
        times = []
        for _ in range(1 if b.is_error else repeats):
            self._memory.zero_()
            arguments = Args(self._cycles.data_ptr(), self._memory.data_ptr(), b.steps)
            self._driver.launch(b.name, b.blocks, b.threads, b.cluster, arguments)
            memory = self._memory.cpu().numpy()
            check_values(b, memory)
            times.append(int(self._cycles[: b.blocks].max()) / b.steps)
        if b.is_error:
            return {"name": b.name, "ulp": round(float(memory[: b.blocks * b.threads].view("float32").max()), 3)}
        times = sorted(times[1:])
        values = {"cycles": times[len(times) // 2], "least": times[0], "most": times[-1]}
        return {"name": b.name, **{name: round(value, 2) for name, value in values.items()}}


def work(request: tuple[str, Path, list[str]], report: Callable[[dict], None]) -> None:
    """Reports what ``run`` returns for each named microbenchmark on the first GPU. The file keeps the machine code."""
    architecture, file, names = request
    if not file.exists():
        file.write_bytes(compile_kernels(architecture)[0])
    if names:
        gpu = Gpu(file.read_bytes(), int(architecture.partition(".")[0]))
    for name in names:
        report(gpu.run(benchmarks()[name]))
