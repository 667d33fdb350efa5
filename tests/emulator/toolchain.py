"""Builds shared libraries that run CUDA kernels on the CPU."""

import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import build_cache

from . import ptx_to_cpp

HERE = Path(__file__).resolve().parent
RUNTIME = [
    *sorted((HERE / "runtime").glob("*.cpp")),
    *(HERE / f"{name}.cpp" for name in ("warp_operations", "control", "cuda_runtime")),
]
# By front end and checks: what else belongs to the runtime, and flags of the kernels.
CHECKS = {
    ("ptx", "race"): (["race_checker"], ["-DEMULATOR_CHECK_ACCESSES"]),
    ("ptx", "profile"): (["profiler"], ["-DEMULATOR_CHECK_ACCESSES"]),
    ("source", "race"): (["race_checker", "access_hooks"], ["-g1", "-fsanitize=thread"]),
    ("source", "profile"): (["profiler", "access_hooks"], ["-g1", "-fsanitize=thread"]),
    **{(front_end, checks): ([], []) for front_end in ("ptx", "source") for checks in ("plain", "address")},
}
ADDRESS = ["-g1", "-fsanitize=address,undefined", "-fno-sanitize=vptr", "-fno-sanitize-recover=all"]


class ToolchainError(RuntimeError):
    pass


# ---- tools
def nvcc():
    home = os.environ.get("CUDA_HOME")
    found = shutil.which(str(Path(home) / "bin" / "nvcc")) if home else shutil.which("nvcc")
    if not found:
        where = f"in CUDA_HOME ({home})" if home else "on PATH; set CUDA_HOME"
        raise ToolchainError(f"there is no nvcc {where}")
    return found


@cache
def _toolkit(nvcc_path):
    """nvcc may be a script that calls another one, which names its root."""
    listing = subprocess.run(
        [nvcc_path, "--dryrun", "-x", "cu", "-c", os.devnull, "-o", os.devnull], capture_output=True, text=True
    )
    root = re.search(r"^#\$ TOP=(.+)$", listing.stderr, re.MULTILINE)
    return Path(root[1].strip()) if root else Path(nvcc_path).resolve().parents[1]


def cuda_include():
    home = os.environ.get("CUDA_HOME")
    for root in (lambda: Path(home or os.devnull), lambda: _toolkit(nvcc())):
        include = root() / "include"
        if (include / "cuda_runtime_api.h").exists():
            return include.resolve()
    raise ToolchainError(f"there is no cuda_runtime_api.h in {include}")


# ---- front end PTX
def ptx(cu_files, arch="sm_90", flags=(), compiler=None):
    """nvcc's PTX of .cu files; `compiler`: another nvcc."""
    command = [compiler or nvcc(), "-std=c++17", "-O3", f"-arch={arch}", "-lineinfo", "-ptx", *flags]
    return build_cache.in_parallel(lambda file: build_cache.compile(command, file, ".ptx"), cu_files)


def translate(ptx_files):
    """C++ sources made from PTX files, which include ptx.h."""
    translator = build_cache.hash_of(*build_cache.contents(sorted(Path(ptx_to_cpp.__file__).parent.glob("*.py"))))

    def one(file):
        target = build_cache.folder() / f"{file.stem}-{translator}.cpp"
        with build_cache.locked(target.stem):
            if not target.exists():
                build_cache.write(target, ptx_to_cpp.translate(file.read_text()))
        return target

    return [one(Path(file)) for file in ptx_files]


def cubins(cu_files, arch, compiler=None):
    """[(cubin, what ptxas says of its kernels)], from that PTX."""
    command = [compiler or nvcc(), f"-arch={arch}", "-lineinfo", "-Xptxas", "-v", "-cubin"]
    made = build_cache.in_parallel(
        lambda file: build_cache.link([*command, file], file.stem, ".cubin"), ptx(cu_files, arch, compiler=compiler)
    )
    return [(cubin, cubin.with_suffix(".log").read_text()) for cubin in made]


# ---- libraries
def library(
    name, *, kernels=(), host=(), front_end="ptx", arch="sm_90", checks="race", flags=(), host_flags=(), link_flags=()
):
    """The path of a shared library of kernels (.cu) and host code (.cpp) that runs without a GPU.

    front_end   "ptx": what nvcc emits for `arch`; "source": the same files compiled by g++
    checks      "race": the checks of race_checker.cpp; "plain": none of them; "profile": counts memory transactions;
                "address": AddressSanitizer and UndefinedBehaviorSanitizer, see environment()
    flags       -D and -I of all; `host_flags` are the host code's alone, so that libraries share compiled kernels
    """
    gxx = shutil.which("g++") or "g++"
    checkers, kernel_flags = CHECKS[front_end, checks]
    sanitizers = ADDRESS if checks == "address" else []
    common = [gxx, "-c", "-std=c++20", "-fPIC", "-fno-gnu-unique", f"-I{HERE}", "-isystem", cuda_include(), *sanitizers]
    kernel = [*common, "-O1", "-w", "-ffp-contract=off", *kernel_flags]

    sources = [*RUNTIME, *(HERE / f"{name}.cpp" for name in checkers)]
    jobs = [([*common, "-O2", "-g1"], source) for source in sources]
    if front_end == "ptx":
        jobs += [(kernel, file) for file in translate(ptx(kernels, arch, flags))]
    else:
        jobs += [([*kernel, "-x", "c++", "-include", "host_primitives.h", *flags], file) for file in kernels]
    jobs += [([*common, "-O1", "-g1", *flags, *host_flags], file) for file in host]
    made = build_cache.in_parallel(lambda job: build_cache.compile(*job, ".o"), jobs)

    link = [gxx, "-shared", "-Wl,-Bsymbolic", *sanitizers, *made, *link_flags, "-ldl"]
    return build_cache.link(link, name)


def environment(checks):
    """What a process needs in its environment to load a library with these checks."""
    if checks != "address":
        return {}
    # libstdc++ too: AddressSanitizer looks for its throw when it starts. No second stack for every fiber of every
    # launch, which took most of the time: it would only see a function's variable that is used after its return.
    names = ("libasan.so", "libstdc++.so.6")
    found = [
        subprocess.run(["g++", f"-print-file-name={name}"], capture_output=True, text=True).stdout.strip()
        for name in names
    ]
    return {"LD_PRELOAD": " ".join(found), "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=0"}
