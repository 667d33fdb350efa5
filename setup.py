"""Builds pixelrnn_ext._C (the CPU kernels) and pixelrnn_ext._C_cuda (the CUDA kernels).

PIXELRNN_NATIVE=auto|0|1   auto: _C is built where the C++ compiler takes the kernels, as GCC and Clang do. 0: pure
                           PyTorch. 1: fail where auto would leave _C out.
PIXELRNN_CUDA=auto|0|1     auto: _C_cuda is built where torch has CUDA and an nvcc of the same major answers. 0: never.
                           1: fail where auto would leave _C_cuda out.
TORCH_CUDA_ARCH_LIST       default: the visible GPUs, else every architecture that torch ships and nvcc knows, and 11.0;
                           plus PTX of the last one and of the first with clusters.
CUDA_HOME, CXX, MAX_JOBS   as in torch.utils.cpp_extension.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

NAME = "pixelrnn_ext"
ROOT = Path(__file__).resolve().parent
BUILD_COMMANDS = {"bdist_wheel", "build", "build_ext", "develop", "editable_wheel", "install"}

# The stable ABI of torch 2.11: the binary loads on it and on every later torch.
TARGET = "-DTORCH_TARGET_VERSION=0x020b000000000000"
# Jetson Thor: torch ships code for it on its own platform alone, and it runs no machine code of another architecture.
THOR = "110"
# Whose PTX an architecture's machine code is made from, where both are built: PTX takes two thirds of nvcc's time, and
# the kernels tell these apart by nothing (__CUDA_ARCH__ in csrc/cuda): the instructions are the same.
PTX_OF = {"86": "80", THOR: "100"}
# A free-threaded Python has no limited API.
ABI3 = not sysconfig.get_config_var("Py_GIL_DISABLED")
# No -std: torch adds its own. No -march: the kernels choose their instruction set at run time. No -fopenmp: the kernels
# run on threads that torch lends them, so that a process has one pool of threads, whichever compiler built this module.
# -g0: the link drops what Python's own flags ask for, and which takes a quarter of the compiler's time.
CPU_FLAGS = ["-O2", "-g0"]

PROBE = """
#include <Python.h>
#include <vector>
extern "C" void* probe() { return new std::vector<PyObject*>; }
"""


def setting(variable):
    value = os.environ.get(variable, "auto")
    if value not in ("auto", "0", "1"):
        raise SystemExit(f"{NAME}: expected {variable}=auto, 0 or 1, got {value!r}")
    return value


def run(*command):
    """Exit status (None: it cannot be started) and everything the command printed."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    except OSError as error:
        return None, str(error)
    return done.returncode, done.stdout + done.stderr


def cxx():
    """The C++ compiler, which is the one that torch takes."""
    return shlex.split(os.environ.get("CXX", "c++"))


def why_not_native():
    """None when the CPU kernels can be compiled, otherwise one sentence."""
    choice = setting("PIXELRNN_NATIVE")
    if choice == "0":
        return "PIXELRNN_NATIVE=0"
    compiler = cxx()
    name = shlex.join(compiler)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "probe.cpp")
        source.write_text(PROBE)
        flags = [*CPU_FLAGS, "-std=c++17", "-fPIC"]
        include = "-I" + sysconfig.get_path("include")
        module = [str(source), "-shared", "-o", str(Path(folder, "probe.so"))]
        tiles = [str(ROOT / path) for path in files("cpu/tiles/*.cpp")]
        for what, arguments in {
            "a test program": [include, *module],
            # The vectors, their shuffles and the instruction sets of single functions, as the kernels write them.
            "the kernels": ["-fsyntax-only", *tiles],
        }.items():
            status, output = run(*compiler, *flags, *arguments)
            if status is None:
                return f"the C++ compiler {name!r} does not start ({output})"
            if status != 0:
                errors = [line.strip() for line in output.splitlines() if "error" in line]
                first = (errors or output.strip().splitlines() or ["it says nothing"])[0]
                return f"the C++ compiler {name!r} does not compile {what} ({first})"
    return None


def ask_nvcc(nvcc):
    """The toolkit that this nvcc belongs to and its version, or None where it does not answer.

    nvcc itself is asked for its root: torch's guess, dirname(dirname(nvcc)), is wrong where the nvcc on PATH is a
    wrapper script.
    """
    _, version = run(nvcc, "--version")
    _, dryrun = run(nvcc, "--dryrun", "-x", "cu", "-c", os.devnull, "-o", os.devnull)
    version = re.search(r"release (\d+\.\d+)", version)
    top = re.search(r"^#\$ TOP=(.*)$", dryrun, re.MULTILINE)
    if version is None or top is None:
        return None
    return Path(top[1]).resolve(), version[1]


def find_cuda(torch):
    """(CUDA root, its version, None), or (None, None, why there is none). A visible GPU plays no part in it."""
    if setting("PIXELRNN_CUDA") == "0":
        return None, None, "PIXELRNN_CUDA=0"
    if torch.version.cuda is None:
        return None, None, f"torch {torch.__version__} is built without CUDA"
    home = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH")
    if home:
        answer = ask_nvcc(os.path.join(home, "bin", "nvcc"))
        if answer is None:
            return None, None, f"CUDA_HOME={home} holds no working bin/nvcc"
    else:
        answer = ask_nvcc(shutil.which("nvcc") or "nvcc") or ask_nvcc("/usr/local/cuda/bin/nvcc")
        if answer is None:
            return None, None, "no nvcc answers on PATH or in /usr/local/cuda, and CUDA_HOME is not set"
    root, version = answer
    if version.split(".")[0] != torch.version.cuda.split(".")[0]:
        return None, None, f"expected nvcc of torch's major, CUDA {torch.version.cuda}, got CUDA {version} in {root}"
    return root, version, None


def code_for(archs, with_ptx):
    """nvcc's flags for machine code, and PTX."""
    flags = []
    for arch in archs:
        source = PTX_OF.get(arch)
        flags.append(f"-gencode=arch=compute_{source if source in archs else arch},code=sm_{arch}")
        if arch in with_ptx:
            flags.append(f"-gencode=arch=compute_{arch},code=compute_{arch}")
    return flags


def choose_archs(torch, cuda_root):
    """The value for TORCH_CUDA_ARCH_LIST, without which torch fails where no GPU is visible, and nvcc's flags: none for
    the user's value, to which torch adds them."""
    if os.environ.get("TORCH_CUDA_ARCH_LIST"):
        return os.environ["TORCH_CUDA_ARCH_LIST"], []
    _, known = run(str(cuda_root / "bin" / "nvcc"), "--list-gpu-arch")
    known = set(re.findall(r"compute_(\d+)", known))
    capabilities = [torch.cuda.get_device_capability(i) for i in range(torch.cuda.device_count())]
    visible = {f"{major}{minor}" for major, minor in capabilities}
    shipped = set(re.findall(r"sm_(\d+)", torch._C._cuda_getArchFlags() or ""))
    archs = sorted(visible & known or (shipped | {THOR}) & known, key=int)
    # PTX for what comes later, and for what lies between: of the first that has clusters of thread blocks.
    with_ptx = {archs[-1], *[arch for arch in archs if int(arch) >= 90][:1]}
    listed = ";".join(f"{arch[:-1]}.{arch[-1]}" + "+PTX" * (arch in with_ptx) for arch in archs)
    return listed, code_for(archs, with_ptx)


def files(pattern):
    return sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "csrc").glob(pattern))


def plan():
    """The extension modules to build, and what pixelrnn_ext.build_config() will say of them."""
    for variable in ("PIXELRNN_NATIVE", "PIXELRNN_CUDA"):
        setting(variable)
    try:
        import torch
    except ImportError:
        raise SystemExit(f"{NAME} is built against torch: pip install 'torch>=2.11', then try again") from None

    no_native = why_not_native()
    if no_native and setting("PIXELRNN_NATIVE") == "1":
        raise SystemExit(f"{NAME}: PIXELRNN_NATIVE=1, but the CPU kernels cannot be built: {no_native}")
    cuda_root, cuda_version, no_cuda = find_cuda(torch)
    if cuda_root and no_native:
        cuda_root, cuda_version, no_cuda = None, None, f"the CPU kernels are not built either: {no_native}"
    if no_cuda and setting("PIXELRNN_CUDA") == "1":
        raise SystemExit(f"{NAME}: PIXELRNN_CUDA=1, but the CUDA kernels cannot be built: {no_cuda}")
    archs, code = choose_archs(torch, cuda_root) if cuda_root else (None, [])
    if cuda_root:
        # torch reads CUDA_HOME when cpp_extension is imported, below.
        os.environ.update(CUDA_HOME=str(cuda_root), TORCH_CUDA_ARCH_LIST=archs)

    build = {
        "torch": str(torch.__version__),
        "compiler": None if no_native else run(*cxx(), "--version")[1].split("\n")[0],
        "cuda": cuda_version,
        "cuda_archs": archs,
        "why_no_native": no_native,
        "why_no_cuda": no_cuda,
    }
    print(f"{NAME}: CPU kernels: {no_native or 'yes'}", file=sys.stderr)
    print(f"{NAME}: CUDA kernels: {no_cuda or f'yes, for {archs}, with {cuda_root}'}", file=sys.stderr)

    if no_native:
        return [], {}, build
    from torch.utils.cpp_extension import BuildExtension, CppExtension, CUDAExtension, include_paths

    # Messages of the operators name csrc/...; only the line numbers of CUDA kernels, for profilers, say where that is.
    relative = [f"-ffile-prefix-map={folder}{os.sep}=" for folder in (ROOT, *include_paths())]

    def common():  # fresh lists: CppExtension and CUDAExtension append to them
        return {
            "include_dirs": [str(ROOT / "csrc")],
            "depends": files("**/*.h") + files("**/*.cuh"),
            "extra_link_args": ["-s"],
            "py_limited_api": ABI3,
        }

    cpu_sources = [*files("operators/*.cpp"), *files("cpu/**/*.cpp")]
    modules = [CppExtension(f"{NAME}._C", cpu_sources, extra_compile_args=[*CPU_FLAGS, TARGET, *relative], **common())]
    if cuda_root:
        # USE_CUDA declares torch's stable access to the current stream.
        nvcc_flags = ["-O3", "-lineinfo", *code]
        if int(cuda_version.partition(".")[0]) >= 13:  # drivers before its own do not unpack it
            nvcc_flags.append("--compress-mode=size")  # a fifth of the size, line numbers included
        flags = {"cxx": [*CPU_FLAGS, "-DUSE_CUDA", TARGET, *relative], "nvcc": nvcc_flags}
        cuda_sources = [*files("operators/cuda/*.cpp"), *files("cuda/*.cpp"), *files("cuda/*.cu")]
        modules.append(CUDAExtension(f"{NAME}._C_cuda", cuda_sources, extra_compile_args=flags, **common()))
    return modules, {"build_ext": BuildExtension}, build


def record(package, distribution, build):
    info = {"version": distribution.get_version(), **build}
    package.mkdir(parents=True, exist_ok=True)
    (package / "_build_info.py").write_text(f"# Written by setup.py.\nBUILD = {info!r}\n")


class BuildPy(build_py):
    """Records the build beside the Python files, and drops what an earlier build with other settings left there."""

    build = None

    def run(self):
        package = ROOT / NAME if self.editable_mode else Path(self.build_lib, NAME)
        if not self.editable_mode:
            shutil.rmtree(package, ignore_errors=True)
        super().run()
        record(package, self.distribution, self.build)


def main():
    if not BUILD_COMMANDS & set(sys.argv):
        setup()  # metadata and sdist need no torch
        return
    ext_modules, commands, build = plan()
    BuildPy.build = build
    distribution = setup(
        ext_modules=ext_modules,
        cmdclass={"build_py": BuildPy, **commands},
        options={"bdist_wheel": {"py_limited_api": "cp310"}} if ABI3 and ext_modules else {},
    )
    if "--inplace" in sys.argv:
        record(ROOT / NAME, distribution, build)


main()
