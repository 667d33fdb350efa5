"""The CPU kernels without a framework, as the programs tests/native/check_*.cpp, built and run under the sanitizers."""

import platform
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
KERNELS = sorted((ROOT / "csrc" / "cpu").rglob("*.cpp"))
CHECKS = sorted((ROOT / "tests" / "native").glob("check_*.cpp"))
GXX = shutil.which("g++")

ADDRESS_UNDEFINED = ("-O1", "-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
THREAD = ("-O1", "-g1", "-fsanitize=thread")
AVX512_ON_AVX2 = ("-DPIXELRNN_AVX512_ON_AVX2", "-Wno-psabi")

pytestmark = pytest.mark.skipif(GXX is None, reason="no g++")


def has_avx2():
    cpuinfo = Path("/proc/cpuinfo")
    return cpuinfo.exists() and {"avx2", "fma"} <= set(cpuinfo.read_text().split())


needs_avx2 = pytest.mark.skipif(not has_avx2(), reason="this CPU has no AVX2 with FMA")


def build(folder, flags):
    """A program for each of the checks."""

    def compile_one(source):
        target = folder / f"{source.stem}.o"
        call([GXX, "-std=c++17", *flags, "-pthread", "-c", source, "-o", target], timeout=300)
        return target

    with ThreadPoolExecutor(2) as pool:
        objects = list(pool.map(compile_one, [*KERNELS, *CHECKS]))
    kernels, checks = objects[: len(KERNELS)], objects[len(KERNELS) :]
    for check in checks:
        call([GXX, *flags, "-pthread", *kernels, check, "-o", check.with_suffix("")], timeout=300)
    return [check.with_suffix("") for check in checks]


def call(command, timeout):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout[-4000:]}\n{done.stderr[-12000:]}"
    return done.stdout


def without_randomised_addresses(folder):
    """The prefix under which ThreadSanitizer can start: some kernels place programs where it has no shadow."""
    source = folder / "empty.cpp"
    source.write_text("int main() {}\n")
    call([GXX, "-fsanitize=thread", source, "-o", folder / "empty"], timeout=60)
    for prefix in ([], ["setarch", platform.machine(), "-R"]):
        if prefix and shutil.which(prefix[0]) is None:
            continue
        # Placement is by chance, so one start says little.
        starts = [subprocess.run([*prefix, folder / "empty"], capture_output=True, text=True) for _ in range(8)]
        if all(start.returncode == 0 for start in starts):
            return prefix
    pytest.skip(f"ThreadSanitizer does not start here: {starts[-1].stderr.strip()}")


@pytest.mark.parametrize(
    "flags, arguments",
    [
        pytest.param(ADDRESS_UNDEFINED, ["short"], id="address-undefined"),
        pytest.param(THREAD, ["short"], id="thread", marks=pytest.mark.sweep),
        pytest.param(("-O2", *AVX512_ON_AVX2), ["best"], id="avx512-on-avx2", marks=[needs_avx2, pytest.mark.sweep]),
        pytest.param(
            (*ADDRESS_UNDEFINED, *AVX512_ON_AVX2),
            ["short", "best"],
            id="address-undefined-avx512-on-avx2",
            marks=[needs_avx2, pytest.mark.sweep],
        ),
    ],
)
def test_checks(flags, arguments, tmp_path):
    prefix = without_randomised_addresses(tmp_path) if flags == THREAD else []
    for program in build(tmp_path, flags):
        output = call([*prefix, program, *arguments], timeout=600)
        assert output.endswith("checks passed\n")
