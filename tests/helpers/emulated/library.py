"""Builds the CUDA operators for the emulator (tests/emulator), and loads them as a namespace of torch.ops.

Each combination of build options has its own namespace, so one process can load several libraries.

The environment variable PIXELRNN_ONLY_KERNELS can name a few of the kernels that compute a whole scan in one launch. A
library with only these kernels is built in seconds.
"""

import os
import re
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import torch
from torch.utils import cpp_extension

from emulator import build_cache, toolchain
from emulator.control import Emulator
from helpers import nvrtc
from helpers.root import ROOT
from helpers.scans import define_gpu_scans
from kernel_costs.kernel_list import source_of
from pixelrnn_ext.operators.scan import rules

CSRC = ROOT / "csrc"
KERNELS = sorted((CSRC / "cuda").rglob("*.cu"))
ONLY = os.environ.get("PIXELRNN_ONLY_KERNELS", "").split()
HOST = [
    *(file for file in sorted((CSRC / "cuda").rglob("*.cpp")) if file.name != "driver.cpp"),
    *(file for file in sorted((CSRC / "operators" / "cuda").glob("*.cpp")) if file.name != "module.cpp"),
    CSRC / "operators" / "planning.cpp",
    *(Path(__file__).with_name(name) for name in ("driver.cpp", "kernels.cpp")),
]


def build(arch="sm_90", checks="race", by_nvcc=(), step_kernels=None):
    """Builds a library of operators. Returns the library's path and the name of its torch namespace.

    Args:
        arch: the architecture of the emulated GPU, such as "sm_90".
        checks: "race" checks the memory accesses of kernels, "profile" counts their memory transactions.
        by_nvcc: names, without the suffix, of the .cu files that nvcc compiles. NVRTC compiles all other .cu files.
        step_kernels: the path of a file that replaces step_kernels.cu, or None.
    """
    namespace = "_".join(("pixelrnn", arch, checks, *by_nvcc, *([step_kernels.stem] if step_kernels else [])))
    files = KERNELS
    if ONLY:
        resident = build_cache.folder() / f"resident_{build_cache.hash_of(*ONLY)}.cu"
        build_cache.write(resident, source_of(ONLY))
        files = [resident, *(file for file in KERNELS if not file.stem.startswith("resident"))]
    if step_kernels:
        files = [step_kernels if file.name == "step_kernels.cu" else file for file in files]
    flags = [f"-I{CSRC / 'cuda' / 'scan'}"] * bool(ONLY)  # the generated .cu file includes kernels.cuh
    path = toolchain.build_library(
        namespace,
        compiler=nvrtc.compiler(),
        kernels=[file for file in files if file.stem not in by_nvcc],
        by_nvcc=[file for file in files if file.stem in by_nvcc],
        host=[*HOST, _device_code(arch, files, flags)],
        arch=arch,
        checks=checks,
        flags=flags,
        host_flags=[
            *(f"-I{folder}" for folder in (CSRC, *cpp_extension.include_paths())),
            *("-DPIXELRNN_EMULATED", f"-DPIXELRNN_NAMESPACE={namespace}"),
            "-DTORCH_TARGET_VERSION=0x020b000000000000",
        ],
        link_flags=[f"-L{path}" for path in cpp_extension.library_paths()] + ["-ltorch", "-ltorch_cpu", "-lc10"],
    )
    return path, namespace


def _device_code(arch, kernels, flags):
    """Writes a C++ file with the table of compiled kernels that device_code.h declares. Returns its path.

    The table has one entry, for ``arch``, with the names of all kernels and a placeholder for PTX code.
    """
    ptx = "".join(compiled.ptx.read_text() for compiled in nvrtc.compile_kernels(kernels, arch, flags))
    names = " ".join(re.findall(r"\.entry\s+(\w+)", ptx))
    content = (
        '#include "cuda/driver/device_code.h"\n'
        "const pixelrnn::cuda::DeviceCode pixelrnn::cuda::device_code[] = "
        f'{{{{{arch.removeprefix("sm_")}, true, " {names} ", "PTX"}}, {{}}}};\n'
        "const int pixelrnn::cuda::compiler_version = 0;\n"
    )
    path = build_cache.folder() / f"device_code_{build_cache.hash_of(content)}.cpp"
    build_cache.write(path, content)
    return path


def load(arch="sm_90", checks="race", by_nvcc=(), step_kernels=None):
    """Builds a library of operators and loads it. The options are those of :func:`build`.

    Returns an object. Its ``ops`` are the operators, and its ``emulator`` controls the emulated GPU.
    """
    return _load(arch, checks, by_nvcc, step_kernels)  # positional, because @cache stores keyword calls separately


@cache
def _load(arch, checks, by_nvcc, step_kernels):
    path, namespace = build(arch, checks, by_nvcc, step_kernels)
    torch.ops.load_library(path)
    fragment = define_gpu_scans(namespace)
    rules.register_rules(namespace)
    emulator = Emulator(path)
    emulator.set_device(arch)
    return SimpleNamespace(ops=getattr(torch.ops, namespace), emulator=emulator, fragment=fragment)
