"""Builds pixelrnn_ext/_C.so (the CPU kernels) and pixelrnn_ext/_C_cuda.so (the CUDA kernels).

The libraries contain no Python code: torch loads them into every version of Python. These environment variables choose
what is built:

PIXELRNN_NATIVE=auto|0|1  auto (default): build _C if the C++ compiler can compile the kernels, as GCC and Clang can.
                          0: build no kernels, the package then runs on PyTorch alone. 1: fail if _C cannot be built.
PIXELRNN_CUDA=auto|0|1    auto (default): beside a torch for CUDA, which brings an NVRTC, build _C_cuda for every GPU
                          from 7.5 on (EVERY_GPU), and machine code for the visible ones. 0: do not build it;
                          `build_ext --inplace` keeps an earlier _C_cuda. 1: fail without an NVRTC; if no GPU is
                          visible, build for all GPUs of a release.
TORCH_CUDA_ARCH_LIST      such as "8.0;9.0+PTX": build _C_cuda for these GPUs instead.
PIXELRNN_OLD_LIBRARIES=1  build the released wheel: for all GPUs, and for glibc 2.28 even if this system's is newer.
PIXELRNN_LINE_NUMBERS=1   tell profilers the source lines of the CUDA kernels.
CUDA_HOME, CXX, MAX_JOBS  the folder of a CUDA toolkit with an NVRTC; the C++ compiler; the number of compilers that run
                          at once.
"""

import ctypes
import os
import platform
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from setuptools import setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

sys.path.insert(0, str(Path(__file__).resolve().parent / "build_tools"))
import device_code
import source_hash

NAME = "pixelrnn_ext"
ROOT = Path(__file__).resolve().parent
BUILD_COMMANDS = {"bdist_wheel", "build", "build_ext", "develop", "editable_wheel", "install"}

# The oldest torch whose stable ABI the libraries use.
TARGET = "-DTORCH_TARGET_VERSION=0x020b000000000000"
# Machine code for 8.6 also runs on 8.9, a later GPU of the same major version. GPUs of other major versions run PTX: a
# GPU of version 11.x, for example, runs the PTX for 9.0. A Jetson (8.7) runs only its own machine code.
RELEASED = ["7.5", "8.0", "8.6", *["8.7"] * (platform.machine() == "aarch64"), "9.0+PTX", "10.0", "12.0+PTX"]
# An install beside a torch for CUDA builds for these. A login node or a Docker build sees no GPU, but needs kernels
# for all GPUs. Machine code for 8.0 also runs on 8.6 and 8.9. GPUs after 9.x run the resident kernels' PTX for 9.0, and
# their own machine code of all other kernels ("+steps"), which every driver can load. Machine code of their resident
# kernels, too, would take two cores more than a minute in all.
EVERY_GPU = ["7.5", "8.0", *["8.7"] * (platform.machine() == "aarch64"), "9.0+PTX", "10.0+steps", "12.0+steps"]
OLDEST_TORCH = "2.11"
# torch adds -std. The kernels choose their instruction set at run time, and run on torch's threads, so there is no
# -march and no -fopenmp. -g0 saves a quarter of the build time.
CPU_FLAGS = ["-O2", "-g0"]
# The planner of the CUDA kernels needs no CUDA. Every build has it, to plan for a GPU of another machine.
PLANNER = [f"csrc/cuda/{name}.cpp" for name in ("sampler/block_plan", "scan/estimate", "scan/path", "scan/plan")]
OLD_LIBRARIES = sys.platform == "linux" and os.environ.get("PIXELRNN_OLD_LIBRARIES") == "1"


def setting(variable):
    value = os.environ.get(variable, "auto")
    if value not in ("auto", "0", "1"):
        raise SystemExit(f"{NAME}: expected {variable}=auto, 0 or 1, got {value!r}")
    return value


def run(*command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    except OSError as error:
        return None, str(error)
    return done.returncode, done.stdout + done.stderr


def cxx():
    return shlex.split(os.environ.get("CXX", "c++"))


def why_no_native():
    choice = setting("PIXELRNN_NATIVE")
    if choice == "0":
        return "PIXELRNN_NATIVE=0"
    compiler = cxx()
    name = shlex.join(compiler)
    with tempfile.TemporaryDirectory() as folder:
        library = [str(ROOT / "csrc/cpu/instruction_set.cpp"), "-shared", "-o", str(Path(folder, "library.so"))]
        probes = {"a library": library}
        if choice == "auto":  # with PIXELRNN_NATIVE=1 the build itself shows the errors
            probes["the kernels"] = ["-fsyntax-only", *(str(ROOT / path) for path in files("cpu/tiles/*.cpp"))]
        for target, arguments in probes.items():
            status, output = run(*compiler, *CPU_FLAGS, "-std=c++17", "-fPIC", *arguments)
            if status is None:
                return f"the C++ compiler {name!r} does not start ({output})"
            if status != 0:
                errors = [line.strip() for line in output.splitlines() if "error" in line]
                first = (errors or output.strip().splitlines() or ["it says nothing"])[0]
                return f"the C++ compiler {name!r} does not compile {target} ({first})"
    return None


def check_torch(torch):
    """Ends the installation with one sentence, before the compiler starts, if torch is too old."""
    numbers = [tuple(map(int, re.findall(r"\d+", version)[:2])) for version in (str(torch.__version__), OLDEST_TORCH)]
    if numbers[0] < numbers[1]:
        raise SystemExit(
            f"{NAME} needs torch {OLDEST_TORCH} or later, found {torch.__version__}: "
            f"pip install --upgrade 'torch>={OLDEST_TORCH}', then try again"
        )


def why_older_driver(torch):
    """Returns a sentence if NVIDIA's driver is older than torch's CUDA, so that torch can use no GPU."""
    version = ctypes.c_int()
    try:
        if ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(version)):
            return None
    except (OSError, AttributeError):
        return None
    # Within a major version, an older driver runs programs of a newer CUDA.
    if not torch.version.cuda or version.value // 1000 >= int(torch.version.cuda.split(".")[0]):
        return None
    driver = f"{version.value // 1000}.{version.value % 1000 // 10}"
    return (
        f"torch {torch.__version__} needs NVIDIA's driver for CUDA {torch.version.cuda}, found one for CUDA {driver}: "
        f"update the driver, or install a torch for CUDA {version.value // 1000}"
    )


def visible_gpus(torch):
    """Returns the compute capabilities of the visible GPUs from 7.5 on.

    If torch cannot use NVIDIA's driver, there are none, and one sentence says why.
    """
    if torch.version.hip:
        return []
    why = why_older_driver(torch)
    try:
        found = set() if why else {torch.cuda.get_device_capability(i) for i in range(torch.cuda.device_count())}
    except RuntimeError as error:
        found, why = set(), f"torch can use no GPU: {str(error).splitlines()[0]}"
    if why:
        print(f"{NAME}: {why}", file=sys.stderr)
    return [f"{x}.{y}" for x, y in sorted(found) if (x, y) >= (7, 5)]


def choose_device_code(torch):
    if setting("PIXELRNN_CUDA") == "0":
        return None, None, "PIXELRNN_CUDA=0"
    # Drops the letter of 9.0a or 10.0f, because no kernel needs its instructions.
    listed = re.sub(r"(\d)[af]\b", r"\1", os.environ.get("TORCH_CUDA_ARCH_LIST", "")).replace(";", " ").split()
    for gpu in listed:
        if not re.fullmatch(r"\d+\.\d(\+PTX)?", gpu):
            return None, None, f"expected TORCH_CUDA_ARCH_LIST to be such as '8.0;9.0+PTX', got {gpu!r}"
    forced = setting("PIXELRNN_CUDA") == "1"
    if not (torch.version.cuda or listed or forced or OLD_LIBRARIES):
        return None, None, f"torch {torch.__version__} is built without CUDA"
    try:
        if OLD_LIBRARIES or listed:
            gpus = RELEASED if OLD_LIBRARIES else listed
            return device_code.compiler_for(gpus), gpus, None
        visible = visible_gpus(torch)
        if forced and not visible:
            return device_code.compiler_for(RELEASED), RELEASED, None
        try:
            compiler = device_code.compiler_for(visible or ["8.0"])
        except RuntimeError:  # a GPU that is too new for the compiler runs PTX, or code for an earlier GPU of its kind
            compiler = device_code.compiler_for(["8.0"])
    except RuntimeError as error:
        return None, None, str(error)
    # A compiler that is older than 12.0 or newer than 7.5 serves the other GPUs, and GPUs after 9.0 by PTX.
    every = [gpu for gpu in EVERY_GPU if device_code.arch_of(gpu) in compiler.archs]
    built = {device_code.capability(gpu): gpu for gpu in every}
    for gpu in (gpu for gpu in visible if device_code.arch_of(gpu) in compiler.archs):
        built[device_code.capability(gpu)] = "9.0+PTX" if gpu == "9.0" else gpu
    return compiler, [built[capability] for capability in sorted(built)], None


def files(pattern):
    return sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "csrc").glob(pattern))


def plan_build():
    try:
        import torch
    except ImportError:
        raise SystemExit(
            f"{NAME} is built against torch: pip install 'torch>={OLDEST_TORCH}', then try again"
        ) from None
    check_torch(torch)

    no_native = why_no_native()
    if no_native and setting("PIXELRNN_NATIVE") == "1":
        raise SystemExit(f"{NAME}: PIXELRNN_NATIVE=1, but the CPU kernels cannot be built: {no_native}")
    compiler, gpus, no_cuda = choose_device_code(torch)
    if compiler and no_native:
        compiler, no_cuda = None, f"the CPU kernels are not built either: {no_native}"
    # A released wheel must have all kernels.
    left_out = None if OLD_LIBRARIES else []
    if compiler:
        lines = ["-lineinfo"] if os.environ.get("PIXELRNN_LINE_NUMBERS") == "1" else []
        try:
            table = device_code.build_table(compiler, gpus, ROOT / "csrc", ROOT / "build/device_code", lines, left_out)
        except RuntimeError as error:
            compiler, no_cuda = None, f"NVRTC {compiler.version} fails: {' '.join(str(error).split())[-400:]}"
    if no_cuda and setting("PIXELRNN_CUDA") == "1":
        raise SystemExit(f"{NAME}: PIXELRNN_CUDA=1, but the CUDA kernels cannot be built: {no_cuda}")
    build = {
        "torch": str(torch.__version__),
        "compiler": None if no_native else run(*cxx(), "--version")[1].split("\n")[0],
        "cuda": compiler and compiler.version,
        "cuda_archs": compiler and ";".join(gpus),
        # Files that did not compile, as NVRTC 13.2.86 fails on resident_bf16.cu for 10.0.
        "cuda_left_out": "; ".join(left_out or []) or None,
        "csrc": source_hash.hash_of(ROOT / "csrc"),
        "glibc": "2.28" if OLD_LIBRARIES else None,  # the oldest glibc on which the library runs
        "why_no_native": no_native,
        "why_no_cuda": no_cuda,
    }
    print(f"{NAME}: CPU kernels: {no_native or 'yes'}", file=sys.stderr)
    cuda = no_cuda or f"yes, for {' '.join(gpus)}, by NVRTC {compiler.version}"
    print(f"{NAME}: CUDA kernels: {cuda}", file=sys.stderr)
    for sentence in left_out or []:
        print(f"{NAME}: left out: {sentence}", file=sys.stderr)

    if no_native:
        return [], {}, build
    from torch.utils.cpp_extension import BuildExtension, CppExtension, include_paths

    # Error messages name source files relative to this folder.
    relative = [f"-ffile-prefix-map={folder}{os.sep}=" for folder in (ROOT, *include_paths())]
    flags = [*CPU_FLAGS, "-fvisibility=hidden", TARGET, *relative]
    flags += [f"-include{ROOT}/csrc/old_libraries.h"] * OLD_LIBRARIES
    link = ["-s", *(["-Xlinker", f"--version-script={ROOT}/csrc/exports.map"] if sys.platform == "linux" else [])]

    def library(name, sources, include=(), defines=(), extra_link=()):
        return CppExtension(
            f"{NAME}.{name}",
            sources + ["csrc/old_libraries.cpp"] * OLD_LIBRARIES,
            include_dirs=[str(ROOT / "csrc"), *include],
            depends=files("**/*.h") + files("**/*.cuh"),
            extra_compile_args=[*flags, *defines],
            extra_link_args=[*link, *extra_link],
            py_limited_api=True,  # without this, the library would be linked with libtorch_python
        )

    libraries = [library("_C", [*files("operators/*.cpp"), *files("cpu/**/*.cpp"), *PLANNER])]
    if compiler:
        host = [*files("operators/cuda/*.cpp"), "csrc/operators/planning.cpp", *files("cuda/**/*.cpp")]
        host += [table.relative_to(ROOT).as_posix()]
        # USE_CUDA makes torch's headers declare the function that returns the current stream. Only libtorch.so is
        # linked, because not every torch has CUDA's libraries.
        link_torch = ["-Wl,--no-as-needed", "-ltorch", "-Wl,--as-needed", "-l:libdl.so.2"]
        libraries.append(library("_C_cuda", host, [str(compiler.include)], ["-DUSE_CUDA"], link_torch))
    return libraries, {"build_ext": BuildExtension.with_options(no_python_abi_suffix=True)}, build


def write_build_info(package, distribution, build):
    info = {"version": distribution.get_version(), **build}
    package.mkdir(parents=True, exist_ok=True)
    (package / "_build_info.py").write_text(f"# Written by setup.py.\nBUILD = {info!r}\n")


def facts_of_cuda_in_place():
    library, info = ROOT / NAME / "_C_cuda.so", ROOT / NAME / "_build_info.py"
    built = runpy.run_path(str(info))["BUILD"] if library.exists() and info.exists() else {}
    return (
        {fact: built.get(fact) for fact in ("cuda", "cuda_archs", "cuda_left_out", "csrc", "why_no_cuda")}
        if built.get("cuda")
        else {}
    )


class BuildPy(build_py):
    """The command build_py, which also removes files of an earlier build and writes _build_info.py."""

    build = None

    def run(self):
        package = ROOT / NAME if self.editable_mode else Path(self.build_lib, NAME)
        if not self.editable_mode:
            shutil.rmtree(package, ignore_errors=True)
        super().run()
        write_build_info(package, self.distribution, self.build)


class Wheel(bdist_wheel):
    """The command bdist_wheel, for a wheel that fits every version of Python."""

    def get_tag(self):
        return "py3", "none", super().get_tag()[2]


def main():
    if not BUILD_COMMANDS & set(sys.argv):
        setup()  # metadata and an sdist need no torch
        return
    ext_modules, commands, build = plan_build()
    BuildPy.build = build
    in_place = "--inplace" in sys.argv
    built = {module.name.rpartition(".")[2] for module in ext_modules}
    if in_place and built and setting("PIXELRNN_CUDA") == "0" and (facts := facts_of_cuda_in_place()):
        print(f"{NAME}: the CUDA library in place stays as it is", file=sys.stderr)
        build |= facts
        built.add("_C_cuda")
    if in_place or {"editable_wheel", "develop"} & set(sys.argv):
        for name in {"_C", "_C_cuda"} - built:
            (ROOT / NAME / f"{name}.so").unlink(missing_ok=True)
    cmdclass = {"build_py": BuildPy, "bdist_wheel": Wheel, **commands}
    distribution = setup(ext_modules=ext_modules, cmdclass=cmdclass)
    if in_place:
        write_build_info(ROOT / NAME, distribution, build)


main()
