"""Builds a fake NVIDIA driver, and host_code.cpp, which calls the host code of csrc/cuda with this driver.

The environment variable FAKE_GPUS lists the fake GPUs' compute capabilities, such as "8.0 9.0".
"""

import os
import shutil
import sys
from functools import cache
from pathlib import Path

import pytest

from emulator import build_cache, toolchain
from helpers.nvrtc import device_code
from helpers.root import ROOT

from . import made_up_code

HERE = Path(__file__).resolve().parent
DRIVER = [toolchain.HERE / "driver" / "cuda_driver.cpp", HERE / "no_kernels.cpp"]
HOST_CODE = [HERE / "host_code.cpp", *sorted((ROOT / "csrc" / "cuda").rglob("*.cpp"))]


@cache
def _cuda_include():
    found = next(iter(device_code.find_compilers()), None)
    return found and found.include


def why_not():
    if sys.platform != "linux" or shutil.which("g++") is None:
        return "expected g++ on Linux"
    if _cuda_include() is None:
        return "expected cuda.h, which a torch for CUDA brings, and the packages that compile the kernels"
    return None


needs_fake_driver = pytest.mark.skipif(why_not() is not None, reason=f"{why_not()}")


def _objects(sources, flags):
    command = ["g++", "-std=c++17", "-O0", "-g1", "-fPIC", "-pthread", *flags, "-c"]
    command += [f"-I{ROOT / 'csrc'}", f"-I{toolchain.HERE}", "-isystem", _cuda_include()]
    return build_cache.in_parallel(lambda source: build_cache.compile(command, source, ".o"), sources)


@cache
def build_driver(without="", flags=()):
    """Builds the fake driver's library. It lacks the function ``without``, as an older driver may."""
    hide = []
    if without:
        script = build_cache.folder() / f"without-{without}.map"
        build_cache.write(script, f"{{ local: {without}; }};\n")
        hide = [f"-Wl,--version-script={script}"]
    link = ["g++", "-shared", "-pthread", *flags, "-Wl,-soname,libcuda.so.1", *hide, *_objects(DRIVER, flags)]
    return build_cache.link(link, "fake_cuda")


@cache
def build_host_code(flags=(), broken=()):
    """Builds host_code.cpp with a table that lacks the resident kernels of the capabilities ``broken``."""
    objects = _objects([*HOST_CODE, made_up_code.table(broken)], flags)
    link = ["g++", "-pthread", *flags, *objects, build_driver(flags=flags), "-ldl"]
    return build_cache.link(link, "host_code", suffix="")


def library_path(folder):
    return {"LD_LIBRARY_PATH": os.pathsep.join(filter(None, [str(folder), os.environ.get("LD_LIBRARY_PATH")]))}
