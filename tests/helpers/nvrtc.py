"""Compiles CUDA kernels, into the tests' cache, with the version of NVRTC that compiles the kernels of a wheel."""

import shutil
import sys
from functools import cache

from emulator import build_cache, toolchain

from .root import ROOT

sys.path.append(str(ROOT / "build_tools"))
import device_code
from kernel_costs import resources
from kernel_costs.compiler import compiler


def why_no_compiler():
    """Returns one sentence that says what to install for the emulator, or None if its compilers are there."""
    if shutil.which("g++") is None:
        return "expected g++, which compiles the kernels for the emulator, got none"
    try:
        compiler()
    except RuntimeError as error:
        return str(error)
    return None


def compile_kernels(cu_files, arch="sm_90", flags=()):
    """Compiles .cu files as for a wheel, but with line numbers. Returns each file's cubin, PTX and log."""
    return toolchain.compile_kernels(compiler(), cu_files, arch, flags)


def compile_for_wheel(arch):
    """Compiles all files csrc/cuda/**/*.cu, or reuses what `make wheel` has compiled."""
    built = ROOT / "build" / "device_code"
    with build_cache.locked(f"device_code-{arch}"):
        folder = built if built.exists() else build_cache.folder() / "device_code"
        gpu = arch.removeprefix("sm_")
        return [paths for _, paths in device_code.compile_kernels(compiler(), [gpu], ROOT / "csrc", folder)]


@cache
def resources_and_cubins(arch):
    """Returns {name of a kernel: Resources}, and the paths of the cubin files, of all kernels as a wheel has them."""
    files = compile_for_wheel(arch)
    return resources.read(files), [made.cubin for made in files]
