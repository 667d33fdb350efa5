"""Runs C++ programs (check_*.cpp) that test the CPU kernels without torch, and fuzz_coding.py.

The tests build each program several times: with sanitizers, optimised by GCC, optimised by Clang, and for AArch64.
fuzz_coding.py calls the operators of sampling and coding under the address sanitizer.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from torch.utils import cpp_extension

from emulator import build_cache
from helpers.nvrtc import device_code
from helpers.root import ROOT

KERNELS = sorted((ROOT / "csrc/cpu").rglob("*.cpp"))
PLANNER = [ROOT / f"csrc/cuda/{name}.cpp" for name in ("sampler/block_plan", "scan/estimate", "scan/path", "scan/plan")]
BINDINGS = {path.relative_to(ROOT).as_posix(): path for path in sorted((ROOT / "csrc/operators").rglob("*.cpp"))}
CHECKS = sorted((ROOT / "tests/native").glob("check_*.cpp"))


def cpu_has(*features):
    cpuinfo = Path("/proc/cpuinfo")
    return cpuinfo.exists() and {*features} <= set(cpuinfo.read_text().split())


# A CPU without AVX-512 runs the AVX-512 kernels by AVX2 instructions.
ON_AVX2 = () if cpu_has("avx512f", "avx512bw", "avx512dq", "avx512vl") else ("-DPIXELRNN_AVX512_ON_AVX2", "-Wno-psabi")
# A CPU without AMX runs the AMX kernels by AVX2 instructions, too.
EMULATED_AMX = ("-DPIXELRNN_EMULATED_AMX", "-Wno-psabi")
WITHOUT = (*ON_AVX2, *EMULATED_AMX * (not cpu_has("amx_tile", "amx_bf16", "avx512_bf16")))
SOURCES = {"avx512": ON_AVX2, "amx_bf16": EMULATED_AMX, "instruction_set": (*ON_AVX2, *EMULATED_AMX)}
# These flags also build a shared library, which needs -fPIC. The sanitizer does not see what the instructions of AMX
# access, so they are emulated.
SANITIZED = ("-g1", *ON_AVX2, *EMULATED_AMX)
ADDRESS_UNDEFINED = ("-O1", "-fPIC", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", *SANITIZED)
THREAD = ("-O1", "-fsanitize=thread", *SANITIZED)
OPTIMISED = ("-O2", *WITHOUT)
TORCH = ("-DTORCH_TARGET_VERSION=0x020b000000000000", *(f"-isystem{path}" for path in cpp_extension.include_paths()))
STATIC = (*OPTIMISED, "-static")  # without shared libraries, which a program in QEMU would not find

UNFUSED = "-ffp-contract=off"  # for scan.cpp, whose scalar products and sums a compiler could fuse
GCC, CLANG, AARCH64_GCC = "g++", "clang++", "aarch64-linux-gnu-g++"
QEMU, QEMU_X86_64 = "qemu-aarch64", "qemu-x86_64"


def needs(*programs):
    missing = [program for program in programs if shutil.which(program) is None]
    return pytest.mark.skipif(bool(missing), reason=f"no {', no '.join(missing)}")


def call(command, timeout, **variables):
    command = [*map(str, command)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=os.environ | variables)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-4000:]}\n{done.stderr[-30000:]}"
    return done.stdout


def compile_objects(compiler, flags, sources):
    """Omits flags that do not affect a source, so that builds with different flags share its cached object."""

    def compiled(source):
        unused = {"-static", *ON_AVX2, *EMULATED_AMX, *[UNFUSED] * (source.stem != "scan")}
        unused -= {*SOURCES.get(source.stem, ())}
        used = [flag for flag in flags if flag not in unused]
        return build_cache.compile([compiler, "-std=c++17", *used, "-pthread", "-c"], source, ".o")

    return build_cache.in_parallel(compiled, sources)


@cache
def programs(compiler, flags):
    made = compile_objects(compiler, flags, [*KERNELS, *CHECKS])
    kernels, checks = made[: len(KERNELS)], made[len(KERNELS) :]

    def program(check):
        return build_cache.link([compiler, *flags, "-pthread", *kernels, check], check.stem, suffix="")

    return dict(zip((source.stem for source in CHECKS), build_cache.in_parallel(program, checks), strict=True))


@cache
def run_checks(compiler, flags, arguments, prefix=()):
    """Runs one program at a time. The threads of a program wait for each other, so each program needs all cores."""
    return {name: call([*prefix, path, *arguments], timeout=600) for name, path in programs(compiler, flags).items()}


def without_randomised_addresses(folder):
    """Returns a command prefix: setarch if Linux chooses random addresses that ThreadSanitizer refuses."""
    source = folder / "empty.cpp"
    source.write_text("int main() {}\n")
    call([GCC, "-fsanitize=thread", source, "-o", folder / "empty"], timeout=60)
    for prefix in ((), ("setarch", platform.machine(), "-R")):
        if prefix and shutil.which(prefix[0]) is None:
            continue
        # Linux chooses addresses at random, so a command may start once and fail the next time.
        starts = [subprocess.run([*prefix, folder / "empty"], capture_output=True, text=True) for _ in range(8)]
        if all(start.returncode == 0 for start in starts):
            return prefix
    pytest.skip(f"ThreadSanitizer does not start here: {starts[-1].stderr.strip()}")


def hashes(compiler, flags, arguments, prefix=()):
    """Returns, for each instruction set, the hashes of the outputs' bits, by (program, output, dtype)."""
    found = {}
    for program, output in run_checks(compiler, flags, arguments, prefix).items():
        assert re.search(r"\b[1-9]\d* checks passed\n$", output)
        for value, dtype, instruction_set, name in re.findall(r"^hash (\w+) (\w+) (\w+) (.*)$", output, re.MULTILINE):
            found.setdefault(instruction_set, {})[program, name, dtype] = value
    return found


def assert_same_bits(found, expected):
    assert len(found) >= 200 and found.keys() == expected.keys()
    assert {key: (value, expected[key]) for key, value in found.items() if value != expected[key]} == {}


@pytest.mark.sweep
@needs(GCC)
@pytest.mark.parametrize(
    ("compiler", "flags", "arguments"),
    [
        pytest.param(GCC, ADDRESS_UNDEFINED, ("short",), id="address-undefined"),
        # ThreadSanitizer is slow, and all instruction sets use threads in the same way. So the checks run only the best
        # instruction set under ThreadSanitizer.
        pytest.param(GCC, THREAD, ("short", "best"), id="thread"),
        pytest.param(GCC, OPTIMISED, (), id="optimised"),
        # Without ON_AVX2, Clang compiles the AVX-512 kernels as users get them.
        pytest.param(CLANG, ("-O2",), (), id="clang", marks=needs(CLANG)),
    ],
)
def test_checks(compiler, flags, arguments, tmp_path):
    hashes(compiler, flags, arguments, without_randomised_addresses(tmp_path) if flags == THREAD else ())


def sanitized_operators():
    command = [GCC, "-std=c++17", *ADDRESS_UNDEFINED, *TORCH, "-c"]
    names = ("columns", "module", "planning")
    bindings = [build_cache.compile(command, BINDINGS[f"csrc/operators/{name}.cpp"], ".o") for name in names]
    libraries = [*(f"-L{path}" for path in cpp_extension.library_paths()), "-ltorch", "-ltorch_cpu", "-lc10"]
    kernels = compile_objects(GCC, ADDRESS_UNDEFINED, [*KERNELS, *PLANNER])
    return build_cache.link([GCC, *ADDRESS_UNDEFINED, "-shared", "-pthread", *bindings, *kernels, *libraries], "coding")


@pytest.fixture
def sanitized():
    """Environment variables with which Python and torch run under the address sanitizer."""
    if sys.platform != "linux":
        pytest.skip("LD_PRELOAD is Linux's")
    # The address sanitizer looks up a function of libstdc++ when it starts, so libstdc++ must also be preloaded.
    names = ("libasan.so", "libstdc++.so.6")
    libraries = [call([GCC, f"-print-file-name={name}"], timeout=60).strip() for name in names]
    for path in libraries:
        if not Path(path).is_absolute():
            pytest.skip(f"{GCC} has no {path}")
    # The options disable the search for memory leaks, because Python itself leaks memory when it ends. They also let an
    # allocation that is too large return null, instead of ending the process.
    options = "detect_leaks=0:allocator_may_return_null=1:max_allocation_size_mb=64"
    return dict(LD_PRELOAD=" ".join(libraries), ASAN_OPTIONS=options, UBSAN_OPTIONS="print_stacktrace=1")


@pytest.mark.sweep
@needs(GCC)
def test_the_sanitizer_sees_a_read_behind_a_tensor(sanitized):
    program = "import ctypes, torch; t = torch.ones(7, dtype=torch.uint8); print(ctypes.string_at(t.data_ptr(), {}))"
    assert call([sys.executable, "-c", program.format(7)], timeout=300, **sanitized) == f"{bytes([1] * 7)}\n"
    with pytest.raises(AssertionError, match="heap-buffer-overflow"):
        call([sys.executable, "-c", program.format(8)], timeout=300, **sanitized)


@pytest.mark.sweep
@needs(GCC)
def test_no_arguments_of_an_operator_harm_memory(sanitized):
    call(
        [sys.executable, ROOT / "tests/native/fuzz_coding.py", sanitized_operators(), 20_000], timeout=600, **sanitized
    )


@pytest.mark.sweep
@needs(GCC)
@pytest.mark.parametrize("source", BINDINGS)
def test_bindings_compile_as_cpp17(source):
    """torch 2.11 compiles extensions as C++17, while later versions of torch need C++20."""
    flags = ["-std=c++17", "-pedantic-errors", "-fsyntax-only", *TORCH]
    if source.startswith("csrc/operators/cuda/"):
        nvrtc = next(device_code.find_compilers(), None)
        if nvrtc is None:
            pytest.skip("expected cuda.h, which a torch for CUDA brings")
        flags += ["-DUSE_CUDA", "-isystem", nvrtc.include]
    call([GCC, *flags, BINDINGS[source]], timeout=300)


@pytest.mark.sweep
@needs(GCC, QEMU_X86_64)
@pytest.mark.skipif(platform.machine() != "x86_64", reason="no x86-64")
def test_coding_is_the_same_on_x86_64_without_avx():
    """Checks that coding gives the same bits on an emulated CPU without AVX.

    On this CPU, our kernels and the C library use other instructions than on a CPU with AVX.
    """
    call([QEMU_X86_64, "-cpu", "Nehalem", programs(GCC, STATIC)["check_exact"]], timeout=600)


@pytest.mark.sweep
@needs(GCC, AARCH64_GCC, QEMU)
def test_checks_on_aarch64_and_the_bits_of_fused_instruction_sets():
    """AVX2, AVX-512 and NEON compute the same fused sums in the same order."""
    on_aarch64 = hashes(AARCH64_GCC, (*STATIC, UNFUSED), ("short", "best"), (QEMU,))
    if not cpu_has("avx2", "fma"):
        pytest.skip("the checks passed on AArch64, but this CPU has no AVX2 with FMA to compare their bits with")
    here = hashes(GCC, OPTIMISED, ("short",))
    assert_same_bits(here["avx512"], here["avx2"])
    assert_same_bits(on_aarch64["neon"], here["avx2"])


@pytest.mark.sweep
@needs(GCC)
@pytest.mark.skipif(not cpu_has("amx_tile", "amx_bf16", "avx512_bf16"), reason="no AMX")
def test_the_emulated_tiles_have_the_bits_of_amx():
    """The emulation tests the AMX kernels on a CPU without AMX. Here it can be compared with the instructions."""
    program = build_cache.compile([GCC, "-std=c++17", "-O2", "-w"], ROOT / "tests/native/amx_products.cpp", "")
    assert call([program], timeout=60) == "512000 sums are equal\n"
    real, emulated = (hashes(GCC, flags, ("short",))["amx_bf16"] for flags in (OPTIMISED, (*OPTIMISED, *EMULATED_AMX)))
    assert len(real) >= 100 and real == emulated


@pytest.mark.parametrize("compiler", [pytest.param(name, marks=needs(name), id=name) for name in (GCC, CLANG)])
def test_fast_math_does_not_compile(compiler):
    command = [compiler, "-std=c++17", "-fsyntax-only", str(ROOT / "csrc/cpu/columns.cpp")]
    assert subprocess.run(command, capture_output=True).returncode == 0
    done = subprocess.run([*command, "-ffast-math"], capture_output=True, text=True)
    assert done.returncode != 0 and "-ffast-math deletes the rounding" in done.stderr
