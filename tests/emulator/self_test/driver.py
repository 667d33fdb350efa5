"""Builds and launches the kernels of this folder. Needs no torch: under AddressSanitizer it runs as a program."""

import ctypes
import sys
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


class Args(ctypes.Structure):
    _fields_ = [
        ("in_", ctypes.c_void_p),
        ("out", ctypes.c_void_p),
        ("in_bytes", ctypes.c_int),
        ("out_bytes", ctypes.c_int),
        ("way", ctypes.c_int),
    ]


compiler = None  # of CUDA, which the tests set


def build(front_end="ptx", arch="sm_90", checks="race"):
    """The path of a library with all kernels that this front end and architecture can have."""
    kernels = ["block", "matrix", "arithmetic"] + (["cluster", "transfer"] if arch == "sm_90" else [])
    flags = ([] if arch == "sm_90" else ["-DWITHOUT_CLUSTERS"]) + (["-DFROM_SOURCE"] if front_end == "source" else [])
    return toolchain.library(
        f"self_test_{front_end}_{arch}_{checks}",
        compiler=compiler,
        kernels=[HERE / f"{name}.cu" for name in kernels],
        host=[HERE / "driver.cpp"],
        front_end=front_end,
        arch=arch,
        checks=checks,
        flags=flags,
    )


class Kernels(Emulator):
    def __init__(self, path, arch="sm_90"):
        super().__init__(path)
        self.device(arch)
        self.library.run.restype = self.library.run_unknown.restype = ctypes.c_char_p

    def run(self, kernel, inputs, outputs, *, way="right", blocks=4, threads=64, cluster=1, shared=256, opt_in=0):
        """What the launch reports, or "". inputs, outputs: address and bytes."""
        args = Args(inputs[0], outputs[0], inputs[1], outputs[1], WAYS.index(way))
        return self.library.run(kernel.encode(), ctypes.byref(args), blocks, threads, cluster, shared, opt_in).decode()


@cache
def load(front_end="ptx", arch="sm_90", checks="race"):
    return Kernels(build(front_end, arch, checks), arch)


def main(library, kernel, way, cluster, shared):
    size = 4 * 4 * 64
    inputs, outputs = ctypes.create_string_buffer(size), ctypes.create_string_buffer(size)
    print(
        Kernels(library).run(
            kernel,
            (ctypes.addressof(inputs), size),
            (ctypes.addressof(outputs), size),
            way=way,
            cluster=cluster,
            shared=shared,
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:4], *map(int, sys.argv[4:6]))
