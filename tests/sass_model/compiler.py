"""The compiler whose machine code the model's figures are for, and the disassembler.

Another nvcc makes other code, so bounds and the committed table hold for PINNED alone. It is the nvcc that compiles
everything else where that one is of this version, or the one that PIXELRNN_MODEL_NVCC names:
`pip install --target FOLDER -r requirements.txt` puts one into FOLDER/nvidia/cu13/bin. Elsewhere the tests report only.
"""

import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import build_cache
from emulator import toolchain

PINNED = "13.0.88"


class ToolError(RuntimeError):
    pass


def _named():
    """The nvcc of PIXELRNN_MODEL_NVCC, or None."""
    name = os.environ.get("PIXELRNN_MODEL_NVCC")
    if name and not shutil.which(name):
        raise ToolError(f"expected PIXELRNN_MODEL_NVCC to name nvcc, got {name}")
    return name and shutil.which(name)


@cache
def nvcc():
    home = os.environ.get("CUDA_HOME")
    ordinary = shutil.which(str(Path(home, "bin", "nvcc")) if home else "nvcc")
    for found in filter(None, (ordinary, _named())):
        if version(found) == PINNED:
            return found
    if _named():
        raise ToolError(f"expected PIXELRNN_MODEL_NVCC to be nvcc {PINNED}, got {version(_named())}")
    if ordinary is None:
        raise ToolError("there is no nvcc: put it on PATH, or set CUDA_HOME or PIXELRNN_MODEL_NVCC")
    return ordinary


@cache
def version(nvcc):
    """Such as 13.0.88."""
    return re.search(r"\bV(\d+\.\d+\.\d+)", _run(nvcc, "--version").stdout)[1]


def is_pinned():
    return version(nvcc()) == PINNED


@cache
def nvdisasm():
    """The one beside nvcc, on PATH, or of the triton package."""
    candidates = [Path(found).resolve().with_name("nvdisasm") for found in (_named(), nvcc()) if found]
    candidates += [Path(found) for found in [shutil.which("nvdisasm")] if found]
    try:
        import triton

        candidates.append(Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "nvdisasm")
    except ImportError:
        pass
    for candidate in filter(Path.exists, candidates):
        return candidate
    raise ToolError("expected nvdisasm beside nvcc, on PATH, or in triton: pip install nvidia-cuda-nvdisasm")


def _run(*command):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if done.returncode:
        raise ToolError(f"{' '.join(map(str, command))}\n{done.stderr[-2000:]}")
    return done


def cubins(sources, arch="sm_90"):
    """[(cubin, what ptxas says of its kernels)] of .cu files, with the places of their lines."""
    try:
        return toolchain.cubins(sources, arch, nvcc())
    except build_cache.BuildError as error:
        raise ToolError(str(error)) from None


def disassemble(cubin):
    return _run(nvdisasm(), "-hex", "-gi", cubin).stdout
