"""Builds shared libraries that run CUDA kernels on the CPU. A cache keeps everything, by the content of the sources."""

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from . import ptx_to_cpp

HERE = Path(__file__).resolve().parent
JOBS = 2
RUNTIME = ("runtime", "warp_operations", "control", "cuda_runtime")
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


@cache
def _version(tool):
    return subprocess.run([tool, "--version"], capture_output=True, text=True).stdout


# ---- cache
def cache_folder():
    default = Path(tempfile.gettempdir()) / f"pixelrnn-emulator-{os.getuid()}"
    folder = Path(os.environ.get("PIXELRNN_EMULATOR_CACHE", default))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _hash(*parts):
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:20]


def _contents(paths):
    return [hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in paths]


def _dependencies(makefile_rule):
    names = makefile_rule.split(":", 1)[1].replace("\\\n", " ")
    return [name.replace("\\ ", " ") for name in re.findall(r"(?:\\ |\S)+", names)]


@contextmanager
def _locked(name):
    """One process at a time makes what has this name; the others then find it."""
    with open(cache_folder() / f"{name}.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _run(command):
    done = subprocess.run(["nice", *map(str, command)], capture_output=True, text=True)
    if done.returncode:
        raise ToolchainError(f"{' '.join(map(str, command))}\n{done.stdout[-4000:]}{done.stderr[-8000:]}")
    return done.stderr


def _compile(command, source, suffix):
    """Runs `command SOURCE -o OUTPUT` unless an output of the same sources and flags exists."""
    command, source = list(map(str, command)), Path(source).resolve()
    folder = cache_folder()
    key = _hash(_version(command[0]), *command, source)
    listing = folder / f"{source.stem}-{key}.json"  # the files that it last depended on

    def output():
        try:
            files = json.loads(listing.read_text())
            return folder / f"{source.stem}-{_hash(key, *_contents(files))}{suffix}"
        except (OSError, ValueError):
            return None

    with _locked(f"{source.stem}-{key}"):
        known = output()
        if known and known.exists():
            return known
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            made, rule = Path(scratch) / f"out{suffix}", Path(scratch) / "rule.d"
            for _ in range(3):  # again if someone edits a file meanwhile
                start = time.time()
                log = _run([*command, source, "-MMD", "-MF", rule, "-o", made])
                files = _dependencies(rule.read_text())
                if all(os.stat(file).st_mtime < start for file in files):
                    break
            _write(listing, json.dumps(files))
            _write(output().with_suffix(".log"), log)
            made.replace(target := output())
        return target


def _write(path, text):
    """At once, since others may use the same cache."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
        file.write(text)
    os.replace(file.name, path)


def _in_parallel(function, items):
    with ThreadPoolExecutor(JOBS) as pool:
        return list(pool.map(function, items))


# ---- front end PTX
def ptx(cu_files, arch="sm_90", include_dirs=(), defines=()):
    """nvcc's PTX of .cu files."""
    command = [nvcc(), "-std=c++17", "-O3", f"-arch={arch}", "-lineinfo", "-ptx"]
    command += [f"-I{folder}" for folder in include_dirs] + [f"-D{define}" for define in defines]
    return _in_parallel(lambda file: _compile(command, file, ".ptx"), cu_files)


def translate(ptx_files):
    """C++ sources made from PTX files, which include ptx.h."""

    def one(file):
        target = cache_folder() / f"{file.stem}-{_hash(*_contents([ptx_to_cpp.__file__]))}.cpp"
        with _locked(target.stem):
            if not target.exists():
                _write(target, ptx_to_cpp.translate(file.read_text()))
        return target

    return [one(Path(file)) for file in ptx_files]


def cubins(cu_files, arch):
    """[(cubin, what ptxas says of its kernels)]."""
    command = [nvcc(), "-std=c++17", "-O3", f"-arch={arch}", "-lineinfo", "-Xptxas", "-v", "-cubin"]
    made = _in_parallel(lambda file: _compile(command, file, ".cubin"), cu_files)
    return [(cubin, cubin.with_suffix(".log").read_text()) for cubin in made]


# ---- libraries
def library(
    name, *, kernels=(), host=(), front_end="ptx", arch="sm_90", checks="race", include_dirs=(), flags=(), link_flags=()
):
    """The path of a shared library of kernels (.cu) and host code (.cpp) that runs without a GPU.

    front_end   "ptx": what nvcc emits for `arch`; "source": the same files compiled by g++
    checks      "race": the checks of race_checker.cpp; "plain": none of them; "profile": counts memory transactions;
                "address": AddressSanitizer and UndefinedBehaviorSanitizer, see environment()
    include_dirs, flags: of the host code and of kernels from source; kernels from PTX take the -D and -I among them
    """
    gxx = shutil.which("g++") or "g++"
    checkers, kernel_flags = CHECKS[front_end, checks]
    sanitizers = ADDRESS if checks == "address" else []
    common = [gxx, "-c", "-std=c++20", "-fPIC", "-fno-gnu-unique", f"-I{HERE}", "-isystem", cuda_include(), *sanitizers]
    includes = [f"-I{folder}" for folder in include_dirs]
    kernel = [*common, "-O1", "-w", "-ffp-contract=off", *kernel_flags]

    jobs = [([*common, "-O2", "-g1"], HERE / f"{stem}.cpp") for stem in (*RUNTIME, *checkers)]
    if front_end == "ptx":
        defines = [flag[2:] for flag in flags if flag.startswith("-D")]
        folders = [*include_dirs, *(flag[2:] for flag in flags if flag.startswith("-I"))]
        jobs += [(kernel, file) for file in translate(ptx(kernels, arch, folders, defines))]
    else:
        jobs += [([*kernel, "-x", "c++", "-include", "host_primitives.h", *includes, *flags], file) for file in kernels]
    jobs += [([*common, "-O1", "-g1", *includes, *flags], file) for file in host]
    made = _in_parallel(lambda job: _compile(*job, ".o"), jobs)

    link = [gxx, "-shared", "-Wl,-Bsymbolic", *sanitizers, *made, *link_flags, "-ldl"]
    target = cache_folder() / f"{name}-{_hash(_version(gxx), *link)}.so"
    with _locked(target.stem):
        if not target.exists():
            with tempfile.TemporaryDirectory(dir=cache_folder()) as scratch:
                _run([*link, "-o", Path(scratch) / target.name])
                (Path(scratch) / target.name).replace(target)
    return target


def environment(checks):
    """What a process needs in its environment to load a library with these checks."""
    if checks != "address":
        return {}
    # libstdc++ too: AddressSanitizer looks for its throw when it starts.
    names = ("libasan.so", "libstdc++.so.6")
    found = [
        subprocess.run(["g++", f"-print-file-name={name}"], capture_output=True, text=True).stdout.strip()
        for name in names
    ]
    return {"LD_PRELOAD": " ".join(found), "ASAN_OPTIONS": "detect_leaks=0"}
