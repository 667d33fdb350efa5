"""Builds a Python module from the parts of csrc that need neither torch nor CUDA."""

import importlib.util
import os
import shlex
import shutil
import sys
import sysconfig
from functools import cache
from pathlib import Path

import pytest

from emulator import build_cache

HERE = Path(__file__).resolve().parent
CSRC = HERE.parents[1] / "csrc"
PLANNER = [CSRC / "cuda" / "scan" / f"{name}.cpp" for name in ("plan", "estimate", "path")]
SOURCES = [*sorted(HERE.glob("*.cpp")), *PLANNER]
COMPILER = shlex.split(os.environ.get("CXX", "c++"))


@cache
def load():
    import pybind11  # machines that run only the GPU tests lack pybind11, and never call load()

    includes = [f"-I{path}" for path in (CSRC, pybind11.get_include(), sysconfig.get_path("include"))]
    flags = ["-std=c++17", "-O1", "-fPIC", "-fvisibility=hidden"]
    command = [*COMPILER, *flags, *includes, "-c"]
    objects = build_cache.in_parallel(lambda source: build_cache.compile(command, source, ".o"), SOURCES)
    # On macOS, Python provides the undefined symbols when it loads the module.
    undefined = ["-undefined", "dynamic_lookup"] if sys.platform == "darwin" else []
    path = build_cache.link([*COMPILER, "-shared", *undefined, *objects], "core")
    spec = importlib.util.spec_from_file_location("pixelrnn_core", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def core():
    if shutil.which(COMPILER[0]) is None:
        pytest.skip(f"there is no C++ compiler {COMPILER[0]!r}")
    return load()
