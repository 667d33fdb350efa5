"""Builds shared libraries that run CUDA kernels on the CPU.

A compiler has ``include`` (the folder of CUDA's headers), ``path`` (its file), and ``compile(cu_file, arch, flags)``,
which returns machine code, PTX and a log.
"""

import inspect
import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import NamedTuple

from . import build_cache, ptx_to_cpp

HERE = Path(__file__).resolve().parent
RUNTIME = [
    *sorted((HERE / "runtime").glob("*.cpp")),
    *(HERE / f"{name}.cpp" for name in ("warp_operations", "control", "driver/cuda_driver")),
]
CHECKERS = {"race": "race_checker.cpp", "profile": "profiler.cpp"}


class ToolchainError(RuntimeError):
    pass


@cache
def nvcc():
    home = os.environ.get("CUDA_HOME")
    name = str(Path(home, "bin", "nvcc")) if home else "nvcc"
    if not shutil.which(name) or subprocess.run([name, "--version"], capture_output=True).returncode:
        raise ToolchainError(f"expected an nvcc that runs, got none as {name}")
    return name


class Compiled(NamedTuple):
    cubin: Path
    ptx: Path
    log: Path


def compile_kernels(compiler, cu_files, arch="sm_90", flags=()):
    flags = [*flags, "-lineinfo", "--ptxas-options=-v"]
    headers = [compiler.include, *(Path(flag[2:]) for flag in flags if flag.startswith("-I"))]
    compiler_id = compiler.path, compiler.path.stat().st_mtime

    def one(file):
        file = Path(file).resolve()
        inputs = build_cache.content_hashes([inspect.getfile(type(compiler)), *_included(file, headers)])
        stem = f"{file.stem}-{build_cache.hash_of(*compiler_id, file, arch, *flags, *inputs)}"
        made = Compiled(*(build_cache.folder() / f"{stem}.{kind}" for kind in Compiled._fields))
        with build_cache.locked(stem):
            if not made.log.exists():
                for path, content in zip(made, compiler.compile(file, arch, flags), strict=True):
                    build_cache.write(path, content)
        return made

    return build_cache.in_parallel(one, cu_files)


def _included(file, folders):
    """Returns a file and all that it includes, also if #if disables an include."""
    found, rest = set(), [file]
    while rest:
        file = rest.pop().resolve()
        if file not in found:
            found.add(file)
            for name in re.findall(r'^ *# *include *["<]([^">]+)', file.read_text(), re.MULTILINE):
                rest += [path for folder in (file.parent, *folders) if (path := folder / name).exists()][:1]
    return sorted(found)


def compile_by_nvcc(cu_files, arch="sm_90", flags=()):
    command = [nvcc(), "-std=c++17", "-O3", f"-arch={arch}", "-lineinfo", "-ptx", *flags]
    return build_cache.in_parallel(lambda file: build_cache.compile(command, file, ".ptx"), cu_files)


def translate(ptx_files):
    translator = build_cache.hash_of(*build_cache.content_hashes(sorted(Path(ptx_to_cpp.__file__).parent.glob("*.py"))))

    def one(file):
        target = build_cache.folder() / f"{file.stem}-{translator}.cpp"
        with build_cache.locked(target.stem):
            if not target.exists():
                build_cache.write(target, ptx_to_cpp.translate(file.read_text()))
        return target

    return [one(Path(file)) for file in ptx_files]


def build_library(
    name,
    *,
    compiler,
    kernels=(),
    by_nvcc=(),
    host=(),
    arch="sm_90",
    checks="race",
    flags=(),
    host_flags=(),
    link_flags=(),
):
    """Builds a shared library of kernels (.cu) and host code (.cpp) that needs no GPU. Returns the library's path.

    kernels     .cu files that ``compiler`` compiles
    by_nvcc     more .cu files, which nvcc compiles
    host        .cpp files that launch the kernels
    checks      "race" checks all memory accesses (race_checker.cpp), "profile" counts their cost (profiler.cpp)
    flags       compiler flags -D and -I for the kernels and the host code
    host_flags  more flags for the host code alone, so that libraries that differ only in these share compiled kernels
    """
    gxx = shutil.which("g++") or "g++"
    common = [gxx, "-c", "-std=c++20", "-fPIC", "-fno-gnu-unique", f"-I{HERE}", "-isystem", compiler.include]
    files = [made.ptx for made in compile_kernels(compiler, kernels, arch, flags)]
    files += compile_by_nvcc(by_nvcc, arch, flags) if by_nvcc else []
    jobs = [([*common, "-O3", "-g1"], source) for source in [*RUNTIME, HERE / CHECKERS[checks]]]
    jobs += [([*common, "-O1", "-w", "-ffp-contract=off"], file) for file in translate(files)]
    jobs += [([*common, "-O1", "-g1", *flags, *host_flags], file) for file in host]
    made = build_cache.in_parallel(lambda job: build_cache.compile(*job, ".o"), jobs)
    return build_cache.link([gxx, "-shared", "-Wl,-Bsymbolic", *made, *link_flags], name)
