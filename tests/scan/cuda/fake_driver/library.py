"""A driver of NVIDIA GPUs that are not there, and the program host_code.cpp of csrc/cuda's host code over it.

``FAKE_GPUS``, such as "8.0 9.0", says which GPUs the driver has.
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
HOST_CODE = [HERE / "host_code.cpp", *sorted((ROOT / "csrc" / "cuda").glob("*.cpp"))]


@cache
def _cuda_include():
    """The folder of cuda.h, or None."""
    found = next(iter(device_code.find()), None)
    return found and found.include


def why_not():
    """None where the driver and the programs can be built, otherwise one sentence."""
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
def library(without="", flags=()):
    """The path of the fake libcuda.so.1; ``without`` a function, it is as a driver that is older than the function."""
    hide = []
    if without:
        script = build_cache.folder() / f"without-{without}.map"
        build_cache.write(script, f"{{ local: {without}; }};\n")
        hide = [f"-Wl,--version-script={script}"]
    link = ["g++", "-shared", "-pthread", *flags, "-Wl,-soname,libcuda.so.1", *hide, *_objects(DRIVER, flags)]
    return build_cache.link(link, "fake_cuda")


@cache
def host_code(flags=()):
    objects = _objects([*HOST_CODE, made_up_code.table()], flags)
    return build_cache.link(["g++", "-pthread", *flags, *objects, library(flags=flags), "-ldl"], "host_code", suffix="")


def found_first(folder):
    """The variables of a process that finds the libcuda.so.1 of a folder before any other."""
    return {"LD_LIBRARY_PATH": os.pathsep.join(filter(None, [str(folder), os.environ.get("LD_LIBRARY_PATH")]))}
