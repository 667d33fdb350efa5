import ctypes
import re
from functools import cache
from pathlib import Path

from .. import cuda, toolchain
from ..control import Emulator

HERE = Path(__file__).resolve().parent
WAYS = re.findall(r"\w+(?=,)", (HERE / "kernels.h").read_text().split("enum Way")[1].split("}")[0])


class Args(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in ("in_", "out")]
    _fields_ += [(name, ctypes.c_int) for name in ("in_bytes", "out_bytes", "way")]


compiler = None  # set by the tests before they load kernels


class Kernels(Emulator):
    def __init__(self, path, arch):
        super().__init__(path)
        self.driver = cuda.Driver(path)
        self.set_device(arch)

    def run(self, kernel, inputs, outputs, *, way="right", blocks=4, threads=64, cluster=0, shared=256, opt_in=0):
        """Returns the driver's error, or ""."""
        error = self._launch(
            kernel,
            cuda.launch_config((blocks, 1, 1), threads, shared, cluster),
            Args(inputs.data_ptr(), outputs.data_ptr(), inputs.nbytes, outputs.nbytes, WAYS.index(way)),
            opt_in,
        )
        text = ctypes.c_char_p()
        self.driver.cuGetErrorString(error, ctypes.byref(text))
        return text.value.decode() if error else ""

    def _launch(self, kernel, config, args, opt_in):
        function, clusters = ctypes.c_void_p(), ctypes.c_int()
        module = self.driver.make("cuModuleLoadData", b"")
        if error := self.driver.cuModuleGetFunction(ctypes.byref(function), module, kernel.encode()):
            return error
        if opt_in and (error := self.driver.cuFuncSetAttribute(function, cuda.MAX_DYNAMIC_SHARED_SIZE_BYTES, opt_in)):
            return error
        if config.attribute_count:
            query = ctypes.byref(clusters), function, ctypes.byref(config)
            if error := self.driver.cuOccupancyMaxActiveClusters(*query):
                return error
            assert clusters.value
        return self.driver.launch(function, config, args)


@cache
def load(arch="sm_90", checks="race"):
    names = ["block", "matrix"] + (["transfer"] if arch == "sm_90" else [])
    path = toolchain.build_library(
        f"self_test_{arch}_{checks}",
        compiler=compiler,
        kernels=[HERE / f"{name}.cu" for name in names],
        host=[HERE / "driver.cpp"],
        arch=arch,
        checks=checks,
    )
    return Kernels(path, arch)
