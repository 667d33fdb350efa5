"""Builds the kernels of this folder, and launches them by the functions of NVIDIA's driver."""

import ctypes
from functools import cache
from pathlib import Path

from .. import toolchain
from ..control import Emulator

HERE = Path(__file__).resolve().parent
WAYS = [
    line.strip(" ,\n")
    for line in (HERE / "kernels.h").read_text().split("enum Way")[1].split("}")[0].splitlines()[1:]
    if "//" not in line
]
CLUSTER_DIMENSION = 4  # CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION
MOST_SHARED_MEMORY = 8  # CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES


class Args(ctypes.Structure):
    _fields_ = [
        ("in_", ctypes.c_void_p),
        ("out", ctypes.c_void_p),
        ("in_bytes", ctypes.c_int),
        ("out_bytes", ctypes.c_int),
        ("way", ctypes.c_int),
    ]


class Attribute(ctypes.Structure):  # CUlaunchAttribute
    _fields_ = [("id", ctypes.c_int), ("padding", ctypes.c_int), ("value", ctypes.c_uint * 16)]


class Config(ctypes.Structure):  # CUlaunchConfig
    _fields_ = [
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("shared", ctypes.c_uint),
        ("stream", ctypes.c_void_p),
        ("attributes", ctypes.POINTER(Attribute)),
        ("count", ctypes.c_uint),
    ]


compiler = None  # of CUDA, which the tests set


class Kernels(Emulator):
    def __init__(self, path, arch):
        super().__init__(path)
        self.device(arch)

    def _error(self, error):
        text = ctypes.c_char_p()
        self.library.cuGetErrorString(error, ctypes.byref(text))
        return text.value.decode() if error else ""

    def run(self, kernel, inputs, outputs, *, way="right", blocks=4, threads=64, cluster=1, shared=256, opt_in=0):
        """What the driver says of the launch, or "". inputs, outputs: address and bytes."""
        function = ctypes.c_void_p()
        error = self.library.cuModuleGetFunction(ctypes.byref(function), None, kernel.encode())
        if opt_in and not error:
            error = self.library.cuFuncSetAttribute(function, MOST_SHARED_MEMORY, opt_in)
        attribute = Attribute(CLUSTER_DIMENSION, 0, (cluster, 1, 1))
        config = Config((blocks, 1, 1), (threads, 1, 1), shared, None, ctypes.pointer(attribute), cluster > 1)
        if cluster > 1 and not error:
            clusters = ctypes.c_int()
            error = self.library.cuOccupancyMaxActiveClusters(ctypes.byref(clusters), function, ctypes.byref(config))
            assert error or clusters.value
        if not error:
            args = Args(inputs[0], outputs[0], inputs[1], outputs[1], WAYS.index(way))
            error = self.library.cuLaunchKernelEx(
                ctypes.byref(config), function, (ctypes.c_void_p * 1)(ctypes.addressof(args)), None
            )
        return self._error(error)


@cache
def load(arch="sm_90", checks="race"):
    """The kernels that an architecture can have, on a device of it."""
    names = ["block", "matrix", "arithmetic"] + (["cluster", "transfer"] if arch == "sm_90" else [])
    path = toolchain.library(
        f"self_test_{arch}_{checks}",
        compiler=compiler,
        kernels=[HERE / f"{name}.cu" for name in names],
        host=[HERE / "driver.cpp"],
        arch=arch,
        checks=checks,
    )
    return Kernels(path, arch)
