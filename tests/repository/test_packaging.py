"""Tests how the package is built and installed."""

import os
import re
import runpy
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from helpers.root import ROOT
from pixelrnn_ext import build_config

SOURCES = ("csrc", "build_tools", "pixelrnn_ext", "setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE")

# Builds as pip does in an isolated build, but without a network.
HOOK = "import sys; sys.path.insert(0, 'build_tools'); import backend; backend.build_{}(sys.argv[1])"


def python(*arguments, cwd, **environment):
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("PIXELRNN_") and k != "PYTHONPATH"}
    path = os.pathsep.join([str(Path(sys.executable).parent), inherited["PATH"]])
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env={**inherited, "PATH": path, "MAX_JOBS": "2", **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def build(kind, source, **environment):
    out = source.parent / f"{source.name}-{kind}"
    done = python("-c", HOOK.format(kind), out, cwd=source, **environment)
    assert done.returncode == 0, done.stdout
    (archive,) = out.iterdir()
    return archive


def smoke_test(wheel):
    """Runs the smoke test with an unpacked wheel. Returns its output and the wheel's build information."""
    target = wheel.parent / "installed"
    zipfile.ZipFile(wheel).extractall(target)
    path = [str(target), *(folder for folder in sys.path if folder.endswith("-packages"))]
    # -S hides an editable installation, which could provide modules that the wheel lacks.
    smoke = python("-S", ROOT / "tests/repository/smoke.py", cwd=wheel.parent, PYTHONPATH=os.pathsep.join(path))
    return smoke.stdout, runpy.run_path(str(target / "pixelrnn_ext/_build_info.py"))["BUILD"]


@pytest.fixture
def source(tmp_path):
    copy = tmp_path / "source"
    copy.mkdir()
    generated = shutil.ignore_patterns("__pycache__", "*.so", "_build_info.py")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=generated)
        else:
            shutil.copy(ROOT / name, copy / name)
    return copy


@pytest.fixture
def sdist(source, tmp_path):
    archive = build("sdist", source)
    shutil.unpack_archive(archive, tmp_path / "unpacked", filter="data")
    (folder,) = (tmp_path / "unpacked").iterdir()
    return folder


def test_sdist_holds_every_source(source, sdist):
    for top in ("csrc", "build_tools", "pixelrnn_ext"):
        paths = [path.relative_to(source) for path in (source / top).rglob("*.*") if path.suffix != ".pyc"]
        missing = {path.as_posix() for path in paths if not (sdist / path).is_file()}
        assert paths and not missing, f"the sdist lacks {sorted(missing)}"


def with_flag(compiler, flag, folder):
    script = folder / "c++"
    script.write_text(f'#!/bin/sh\nexec {shutil.which(compiler)} "$@" {flag}\n')
    script.chmod(0o755)
    return script


@pytest.mark.sweep
def test_wheel_of_the_sdist_computes(sdist):
    """The test compiles the wheel with Clang if Clang is installed.

    Other tests compile with GCC, so the tests together cover both compilers. The compiler's option -O0 makes the build
    six times as fast.
    """
    compiler = "clang++" if shutil.which("clang++") else "g++"
    wheel = build("wheel", sdist, CXX=str(with_flag(compiler, "-O0", sdist.parent)), PIXELRNN_CUDA="0")
    assert re.fullmatch(r"pixelrnn_ext-[\d.]+-py3-none-\w+\.whl", wheel.name)
    smoke, build_info = smoke_test(wheel)
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True).stdout.split("\n")[0]
    assert smoke == "" and build_info["compiler"] == version
    (module,) = (wheel.parent / "installed").rglob("_C*.so")
    # The library must not contain the paths of folders of the build machine. The test checks this only on Linux,
    # because other systems may store the paths of object files in a library.
    if sys.platform == "linux":
        for folder in (sdist, Path(torch.__file__).parent):
            assert os.fsencode(folder) not in module.read_bytes(), f"expected messages that do not name {folder}"
    assert build_info["why_no_cuda"] == "PIXELRNN_CUDA=0"


@pytest.mark.parametrize("compiler", ["missing", pytest.param("without vectors", marks=pytest.mark.sweep)])
def test_without_a_compiler_for_the_kernels_the_reference_is_installed(source, tmp_path, compiler):
    if compiler == "missing":
        cxx, why = tmp_path / "no-such-compiler", "does not start"
    elif shutil.which("c++"):
        cxx, why = with_flag("c++", "-Dvector_size=no_such_attribute", tmp_path), "does not compile the kernels"
    else:
        pytest.skip("needs c++")
    smoke, _ = smoke_test(build("wheel", source, CXX=str(cxx), PIXELRNN_CUDA="0"))
    reason = f"pixelrnn_ext was built without its CPU kernels: the C++ compiler {str(cxx)!r} {why}"
    assert smoke.startswith(f"smoke test: expected the CPU kernels, got none: {reason}")


def test_python_m_pixelrnn_ext_prints_the_build(tmp_path):
    native = build_config()["why_no_native"] is None
    done = python("-m", "pixelrnn_ext", cwd=tmp_path, **({"PIXELRNN_INSTRUCTION_SET": "baseline"} if native else {}))
    assert done.returncode == 0, done.stdout
    printed = dict(re.split(r": +", line, maxsplit=1) for line in done.stdout.splitlines() if ":" in line)
    assert {"version", "torch", "native", "why_no_native", "compiler", "openmp", "cuda", "why_no_cuda"} <= set(printed)
    assert not native or printed["instruction_set"] == "baseline"


@pytest.fixture
def setup_names():
    names = {"__file__": str(ROOT / "setup.py"), "__name__": "setup"}
    exec((ROOT / "setup.py").read_text().removesuffix("\nmain()\n"), names)
    return names


def test_the_build_records_the_hash_of_its_sources(setup_names, monkeypatch):
    monkeypatch.setenv("PIXELRNN_NATIVE", "0")
    monkeypatch.setenv("PIXELRNN_CUDA", "0")
    assert setup_names["plan_build"]()[2]["csrc"] == setup_names["source_hash"].hash_of(ROOT / "csrc")


@pytest.mark.parametrize("native", [True, False])
def test_make_build_leaves_the_cuda_library(native, setup_names, tmp_path, monkeypatch):
    """A build without the CPU library removes the CUDA library, which needs it."""
    package = tmp_path / "pixelrnn_ext"
    package.mkdir()
    library, info = package / "_C_cuda.so", package / "_build_info.py"
    earlier = {"cuda": "12.9", "cuda_archs": "9.0", "cuda_left_out": None, "csrc": "old", "why_no_cuda": None}
    new = dict.fromkeys(earlier) | {"csrc": "new", "why_no_cuda": "PIXELRNN_CUDA=0"}
    library.touch()
    info.write_text(f"BUILD = {earlier}")
    modules = [SimpleNamespace(name="pixelrnn_ext._C")] * native
    distribution = SimpleNamespace(get_version=lambda: "1.0")
    setup_names |= {"ROOT": tmp_path, "plan_build": lambda: (modules, {}, dict(new)), "setup": lambda **_: distribution}
    monkeypatch.setenv("PIXELRNN_CUDA", "0")
    monkeypatch.setattr("sys.argv", ["setup.py", "build_ext", "--inplace"])
    setup_names["main"]()
    assert library.exists() == native
    assert runpy.run_path(str(info))["BUILD"] == {"version": "1.0"} | (earlier if native else new)


def test_device_code_is_compiled_once(setup_names, tmp_path):
    """Other tests use this cache of compiled code, so its key must cover every input of the compiler."""
    csrc, compiled = tmp_path / "csrc", []

    class Compiler:
        path = tmp_path / "compiler"

        def compile(self, source, arch, flags):
            compiled.append(f"{source.name} {arch}")
            return source.read_bytes(), b"PTX", f"ptxas on {arch}"

    def compiles(gpus, flags=()):
        compiled.clear()
        folder = tmp_path / "build"
        found = setup_names["device_code"].compile_kernels(Compiler(), gpus, csrc, folder, flags)
        assert [(gpu, made.log.read_text()) for gpu, made in found] == [
            (gpu, f"ptxas on sm_{setup_names['device_code'].arch_of(gpu)}") for gpu in gpus
        ]
        return sorted(compiled)  # kernels compile in parallel, in any order

    (csrc / "cuda/scan").mkdir(parents=True)
    headers = ("k.h", "cuda/k.h", "cuda/k.cuh", "cuda/scan/k.h", "cuda/scan/k.cuh")
    files = [csrc / "cuda/scan/k.cu", *(csrc / name for name in headers), Compiler.path]
    for file in files:
        file.write_text("1")
    assert compiles(["8.6", "9.0+PTX"]) == ["k.cu sm_86", "k.cu sm_90"]
    assert compiles(["90"]) == []
    assert compiles(["9.0"], ["-lineinfo"]) == ["k.cu sm_90"]
    for file in files:
        file.write_text("22")
        assert compiles(["9.0"]) == ["k.cu sm_90"], file


class HalfACompiler:
    """A compiler that fails on the file a.cu for the architectures ``broken``, and on all files for ``all_broken``."""

    version, archs = "13.2", {"75", "80", "90", "100", "120"}

    def __init__(self, folder, broken, all_broken=()):
        self.path, self.broken, self.all_broken = folder / "compiler", broken, all_broken
        self.path.touch()

    def compile(self, source, arch, flags):
        gpu = arch.removeprefix("sm_")
        if gpu in self.all_broken or (source.stem == "a" and gpu in self.broken):
            raise RuntimeError(f"{source}: ptxas fatal   : (C7907)\n Internal compiler error.\n")
        return f".text.{source.stem}_kernel\0".encode(), b"PTX", ""


WHY = "ptxas fatal : (C7907) Internal compiler error."
# {case: (broken architectures, GPUs, rows of the table for a.cu as (capability, is PTX), what is left out)}
LEFT_OUT = {
    "PTX-that-is-there": (
        "100",
        "9.0+PTX 10.0",
        "90 false, 90 true",
        [f"a for 10.0 (PTX for 9.0 in its place): {WHY}"],
    ),
    "PTX-that-is-made": ("120 100", "12.0", "90 true", [f"a for 12.0 (PTX for 9.0 in its place): {WHY}"]),
    "PTX-for-two": (
        "100 120",
        "10.0 12.0",
        "90 true",
        [f"a for {gpu} (PTX for 9.0 in its place): {WHY}" for gpu in ("10.0", "12.0")],
    ),
    "nothing": ("75 80 90", "9.0", "", [f"a for 9.0 (nothing in its place): {WHY}"]),
}


@pytest.mark.parametrize(("broken", "gpus", "rows", "expected"), LEFT_OUT.values(), ids=LEFT_OUT)
def test_a_file_that_does_not_compile_costs_no_other(broken, gpus, rows, expected, setup_names, tmp_path):
    (tmp_path / "cuda").mkdir()
    for name in "ab":
        (tmp_path / f"cuda/{name}.cu").touch()
    compiler, left_out = HalfACompiler(tmp_path, broken.split()), []
    build_table = setup_names["device_code"].build_table
    table = build_table(compiler, gpus.split(), tmp_path, tmp_path / "build", left_out=left_out).read_text()
    found = re.findall(r'\{(\d+), (\w+), " (\w)_kernel "', table)
    assert ", ".join(f"{gpu} {is_ptx}" for gpu, is_ptx, name in found if name == "a") == rows
    assert [(gpu, is_ptx) for gpu, is_ptx, name in found if name == "b"] == [
        (gpu.removesuffix("+PTX").replace(".", ""), is_ptx)
        for gpu in gpus.split()
        for is_ptx in (("false", "true") if gpu.endswith("+PTX") else ("false",))
    ]
    assert left_out == expected and "compiler_version = 13020;" in table
    with pytest.raises(RuntimeError, match="C7907"):  # a released wheel has all kernels
        build_table(compiler, gpus.split(), tmp_path, tmp_path / "build")


def test_a_gpu_that_nobody_sees_costs_no_time_for_resident_kernels(setup_names, tmp_path):
    (tmp_path / "cuda").mkdir()
    for name in ("resident_b", "step"):
        (tmp_path / f"cuda/{name}.cu").touch()
    compile_kernels = setup_names["device_code"].compile_kernels
    compiled = compile_kernels(HalfACompiler(tmp_path, []), ["9.0+PTX", "10.0+steps"], tmp_path, tmp_path / "build")
    assert [(gpu, made.cubin.name.split(".")[0]) for gpu, made in compiled] == [
        ("9.0+PTX", "resident_b"), ("9.0+PTX", "step"), ("10.0+steps", "step")
    ]  # fmt: skip


def test_a_compiler_that_fails_on_everything_builds_no_table(setup_names, tmp_path):
    (tmp_path / "cuda").mkdir()
    (tmp_path / "cuda/a.cu").touch()
    with pytest.raises(RuntimeError, match=re.escape(WHY)):
        compiler = HalfACompiler(tmp_path, [], ["90"])
        setup_names["device_code"].build_table(compiler, ["9.0"], tmp_path, tmp_path / "build", left_out=[])


@pytest.mark.parametrize(
    ("child", "said"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "k.cu: the compiler died of signal 11"),
        ("import sys; sys.exit('k.cu: a syntax error')", "k.cu: a syntax error"),
    ],
    ids=["crash", "error"],
)
def test_a_compiler_that_dies_is_an_error_of_its_file(child, said, setup_names, tmp_path, monkeypatch):
    program = tmp_path / "child.py"
    program.write_text(child)
    module = setup_names["device_code"]
    monkeypatch.setattr(module, "__file__", str(program))
    compiler = object.__new__(module.NVRTC)
    compiler.path, compiler.include = tmp_path, tmp_path
    with pytest.raises(RuntimeError, match=f"^{re.escape(said)}$"):
        compiler.compile(Path("k.cu"), "sm_90")


@pytest.mark.parametrize(
    ("version", "is_old"), [("2.10.1+cu130", True), ("1.13.1", True), ("2.11.0", False), ("2.12.0a0+git1", False)]
)
def test_an_older_torch_is_one_sentence(version, is_old, setup_names):
    torch = SimpleNamespace(__version__=version)
    if not is_old:
        return setup_names["check_torch"](torch)
    with pytest.raises(SystemExit) as ended:
        setup_names["check_torch"](torch)
    assert str(ended.value) == (
        f"pixelrnn_ext needs torch 2.11 or later, found {version}: pip install --upgrade 'torch>=2.11', then try again"
    )


def test_an_older_torch_ends_the_installation_before_a_compiler_starts(setup_names, monkeypatch):
    monkeypatch.setattr(torch, "__version__", "2.9.1")
    for name in ("why_no_native", "choose_device_code"):
        monkeypatch.setitem(setup_names, name, lambda *_: pytest.fail("expected no compiler"))
    with pytest.raises(SystemExit, match="needs torch 2.11 or later, found 2.9.1"):
        setup_names["plan_build"]()


class OfDriver(SimpleNamespace):
    """NVIDIA's driver for a version of CUDA, such as 12020 for 12.2."""

    def cuDriverGetVersion(self, version):
        version._obj.value = self.version
        return 0


@pytest.mark.parametrize(
    ("driver", "gpus", "said"),
    [
        (
            12020,
            "too old",
            "torch 2.15.0 needs NVIDIA's driver for CUDA 13.2, found one for CUDA 12.2: update the driver",
        ),
        (13000, "9.0", None),
        (13020, "broken", "torch can use no GPU: CUDA driver initialization failed"),
    ],
)
def test_a_driver_that_torch_cannot_use_is_one_sentence_and_the_build_goes_on(
    driver, gpus, said, setup_names, monkeypatch, capsys
):
    def capability(index):
        if gpus != "9.0":
            raise RuntimeError("CUDA driver initialization failed\nat line 3")
        return 9, 0

    monkeypatch.setattr("ctypes.CDLL", lambda name: OfDriver(version=driver))
    cuda = SimpleNamespace(device_count=lambda: 1, get_device_capability=capability)
    torch = SimpleNamespace(cuda=cuda, version=SimpleNamespace(hip=None, cuda="13.2"), __version__="2.15.0")
    assert setup_names["visible_gpus"](torch) == (["9.0"] if said is None else [])
    assert capsys.readouterr().err.startswith("" if said is None else f"pixelrnn_ext: {said}")


@pytest.fixture
def choose(setup_names, monkeypatch):
    for variable in ("PIXELRNN_CUDA", "TORCH_CUDA_ARCH_LIST"):
        monkeypatch.delenv(variable, raising=False)

    def choose(visible, compilers, cuda_of_torch="13.2", **variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        found = [SimpleNamespace(version=version, archs=set(archs)) for version, archs in compilers.items()]
        monkeypatch.setattr(setup_names["device_code"], "find_compilers", lambda: iter(found))
        cuda = SimpleNamespace(device_count=lambda: len(visible), get_device_capability=lambda i: visible[i])
        torch = SimpleNamespace(cuda=cuda, version=SimpleNamespace(hip=None, cuda=cuda_of_torch), __version__="2.15.0")
        monkeypatch.setitem(setup_names, "why_older_driver", lambda torch: None)
        compiler, gpus, why = setup_names["choose_device_code"](torch)
        return compiler and compiler.version, gpus, why

    return choose


ARCHS_12, ARCHS_13 = ("75", "80", "86", "90", "100", "120"), ("75", "80", "86", "90", "100", "110", "120", "130")
BOTH = {"12.9": ARCHS_12, "13.2": ARCHS_13}


CHOSEN = {
    "release": ([], BOTH, {"PIXELRNN_CUDA": "1"}, "12.9", "7.5 8.0 8.6 9.0+PTX 10.0 12.0+PTX"),
    "login-node": ([], BOTH, {}, "12.9", "7.5 8.0 9.0+PTX 10.0+steps 12.0+steps"),
    "H100": ([(9, 0), (9, 0)], BOTH, {}, "12.9", "7.5 8.0 9.0+PTX 10.0+steps 12.0+steps"),
    "RTX-4090": ([(8, 9)], {"12.9": (*ARCHS_12, "89")}, {}, "12.9", "7.5 8.0 8.9 9.0+PTX 10.0+steps 12.0+steps"),
    "torch's-NVRTC": (
        [(9, 0)],
        {"13.2": ARCHS_13},
        {"PIXELRNN_CUDA": "1"},
        "13.2",
        "7.5 8.0 9.0+PTX 10.0+steps 12.0+steps",
    ),
    "newer-than-12.9": ([(8, 0), (13, 0)], BOTH, {}, "13.2", "7.5 8.0 9.0+PTX 10.0+steps 12.0+steps 13.0"),
    "older-than-Blackwell": ([], {"12.6": ("75", "80", "90")}, {}, "12.6", "7.5 8.0 9.0+PTX"),
    "without-Turing": ([], {"14.0": ("80", "90", "120")}, {}, "14.0", "8.0 9.0+PTX 12.0+steps"),
    "too-new": ([(14, 0)], BOTH, {}, "12.9", "7.5 8.0 9.0+PTX 10.0+steps 12.0+steps"),
    "listed": ([(9, 0)], BOTH, {"TORCH_CUDA_ARCH_LIST": "8.0;12.0+PTX"}, "12.9", "8.0 12.0+PTX"),
    "9.0a": ([], BOTH, {"TORCH_CUDA_ARCH_LIST": "9.0a 10.0f+PTX"}, "12.9", "9.0 10.0+PTX"),
    "beside-an-old-one": ([(6, 1), (10, 0)], BOTH, {}, "12.9", "7.5 8.0 9.0+PTX 10.0 12.0+steps"),
}


@pytest.mark.parametrize(("visible", "compilers", "variables", "compiler", "gpus"), CHOSEN.values(), ids=CHOSEN)
def test_the_compiler_and_the_gpus(visible, compilers, variables, compiler, gpus, choose, monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert choose(visible, compilers, **variables) == (compiler, gpus.split(), None)


NOT_CHOSEN = {
    "switched-off": ([(9, 0)], BOTH, {"PIXELRNN_CUDA": "0"}, "PIXELRNN_CUDA=0"),
    "a-name": ([], BOTH, {"TORCH_CUDA_ARCH_LIST": "8.0;Hopper"}, "'8.0;9.0+PTX', got 'Hopper'"),
    "torch-without-CUDA": ([], BOTH, {"cuda_of_torch": None}, "torch 2.15.0 is built without CUDA"),
    "no-NVRTC": ([(9, 0)], {}, {}, "expected an NVRTC that compiles for 8.0, got none: pip install nv"),
    "no-NVRTC-and-no-GPU": ([], {}, {}, "expected an NVRTC that compiles for 8.0, got none: pip install nv"),
}


@pytest.mark.parametrize(("visible", "compilers", "variables", "why"), NOT_CHOSEN.values(), ids=NOT_CHOSEN)
def test_why_there_is_no_device_code(visible, compilers, variables, why, choose):
    *nothing, got = choose(visible, compilers, **variables)
    assert nothing == [None, None] and why in got


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"PIXELRNN_CUDA": "yes"}, "expected PIXELRNN_CUDA=auto, 0 or 1, got 'yes'"),
        ({"PIXELRNN_NATIVE": "1"}, "PIXELRNN_NATIVE=1, but the CPU kernels cannot be built: the C.. compiler 'no-such"),
        ({"PIXELRNN_NATIVE": "yes"}, "expected PIXELRNN_NATIVE=auto, 0 or 1, got 'yes'"),
        (
            {"PIXELRNN_CUDA": "1", "TORCH_CUDA_ARCH_LIST": "99.0"},
            "PIXELRNN_CUDA=1, but the CUDA kernels cannot be built: expected an NVRTC that compiles for 99.0, got ",
        ),
    ],
)
def test_what_cannot_be_built_is_refused(settings, message, setup_names, monkeypatch):
    for variable, value in ({"PIXELRNN_NATIVE": "0", "CXX": "no-such-compiler"} | settings).items():
        monkeypatch.setenv(variable, value)
    with pytest.raises(SystemExit, match=message):
        setup_names["plan_build"]()


@pytest.mark.sweep
def test_what_nvrtc_cannot_compile_is_said(source, tmp_path):
    for kernels in (source / "csrc" / "cuda").rglob("*.cu"):
        kernels.write_text('#error "not to be compiled"\n')
    settings = {"PIXELRNN_CUDA": "1", "TORCH_CUDA_ARCH_LIST": "8.0"}
    done = python("-c", HOOK.format("wheel"), tmp_path / "wheel", cwd=source, **settings)
    if ", got none: pip install" in done.stdout:
        pytest.skip("no NVRTC is installed")
    assert done.returncode != 0
    assert re.search(r"the CUDA kernels cannot be built: NVRTC \d+\.\d+ fails: .*not to be compiled", done.stdout)
