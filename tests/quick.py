"""Runs the tests that changed files may break, within a minute: `make quick` or `make quick FILES="csrc/cpu/scan.cpp"`.

Without FILES, git's uncommitted files or those of the last commit are the changed files. The package must be built in
place, as by `pip install -e .`. Changed tests run first. The others are those of the changed files' rooms and those
that import the changed files, as many as the minute allows.
"""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 60
NO_TESTS_COLLECTED = 5
# {beginning of a path: tests}. The first entry that fits applies, and a path without an entry belongs to a room.
TESTS = {
    "csrc/cpu/": "tests/scan/cpu tests/scan/test_against_oracle.py tests/masked_conv tests/sampling tests/codec",
    "csrc/cuda/": "tests/scan/cuda tests/sampling/test_gpu.py",
    "csrc/operators/cuda/": "tests/scan/cuda tests/sampling/test_gpu.py",
    "csrc/": "tests/scan tests/masked_conv tests/sampling tests/codec",
    "tests/core/": "tests/scan/test_cell.py tests/scan/test_cells.py tests/scan/cuda/test_plan.py",
    "pixelrnn_ext/operators/masked_conv/": "tests/masked_conv",
    "pixelrnn_ext/operators/": "tests/scan",
    "pixelrnn_ext/incremental/": "tests/sampling",
    "pixelrnn_ext/benchmark/": "tests/benchmarks",
    "build_tools/kernel_costs/": "tests/kernel_costs tests/scan/cuda",
}
EMULATED = ("csrc/cuda/", "csrc/operators/cuda/", "tests/scan/cuda/emulated/", "tests/helpers/emulated/")
KERNELS = "forward{0}_{1}_s_1_512_single backward{0}_{1}_s_0_512_single"


def tests_of(path):
    if re.fullmatch(r"tests/.*/test_\w+[.]py", path):
        return [path]
    found = next((tests.split() for start, tests in TESTS.items() if path.startswith(start)), [])
    if not found:
        room = re.match(r"(?:tests|pixelrnn_ext)/(\w+)|(benchmarks)/|", path)
        found = [f"tests/{room[1] or room[2] or 'repository'}"]
    if path.endswith(".py"):
        imports = re.compile(rf"^ *(?:from|import) .*\b{Path(path).stem}\b", re.MULTILINE)
        tests = sorted((ROOT / "tests").rglob("test_*.py"))
        found += [test.relative_to(ROOT).as_posix() for test in tests if imports.search(test.read_text())]
    return [test for test in dict.fromkeys(found) if (ROOT / test).exists()] or ["tests/repository"]


def kernels_of(path):
    """Returns the CUDA kernels to run on the emulator. `resident5_bf16.cu` has those of five gates in bf16."""
    if not path.startswith(EMULATED):
        return []
    found = re.search(r"(5?)_(bf16|fp16|tf32|fp32)[.]cu$", path)
    return KERNELS.format(*(found.groups() if found else ("", "bf16"))).split()


def git_files(*arguments):
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True).stdout.split()


def changed_files():
    found = git_files("diff", "--name-only", "HEAD") + git_files("ls-files", "--others", "--exclude-standard")
    return found or git_files("diff", "--name-only", "HEAD~1", "HEAD")


def relative_to_root(path):
    """Returns a path relative to the repository's root. Exits if it is neither a file nor known to git."""
    name = os.path.relpath(ROOT / path, ROOT)
    if name.startswith("..") or not ((ROOT / name).is_file() or git_files("ls-files", name) == [name]):
        sys.exit(f"expected the path of a file of this repository, got {path!r}")
    return name


def run(*command, **variables):
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"} | variables
    return subprocess.run(command, cwd=ROOT, env=environment).returncode


def run_tests(paths, until):
    """Runs the tests of some files, changed tests before the others. Returns pytest's status.

    If the files have CUDA kernels to run on the emulator, the emulator's tests of these kernels run, and a few general
    ones.
    """
    tests = dict.fromkeys(test for path in paths for test in tests_of(path))
    kernels = dict.fromkeys(name for path in paths for name in kernels_of(path))
    command = ["pytest", "-q", "-n", "2", f"--until={until:.0f}", *tests]
    command += [f"--first={path}" for path in paths if tests_of(path) == [path]]
    if kernels:
        chosen = " or ".join(["not emulated", "sm_90 and (step_path or border or taps)", *kernels])
        command += ["-m", "emulated or not sweep", "-k", chosen]
    print(f"tests: {' '.join([*tests, *kernels])}", flush=True)
    status = run(*command, PIXELRNN_ONLY_KERNELS=" ".join(kernels))
    return 0 if status == NO_TESTS_COLLECTED else status


def main(paths):
    until = time.time() + SECONDS - 20  # so that running tests can end
    paths = [relative_to_root(path) for path in paths] or changed_files()
    print(f"changed: {' '.join(paths) or 'nothing'}", flush=True)
    if any(path.startswith("csrc/") for path in paths) or not (ROOT / "pixelrnn_ext" / "_C.so").exists():
        print("building the CPU library in place; a CUDA library stays as it is", flush=True)
        if status := run("make", "build"):
            return status
    python = [path for path in paths if path.endswith(".py") and (ROOT / path).exists()]
    status = run("ruff", "check", *python) if python else 0
    return (run_tests(paths, max(until, time.time() + 8)) if paths else 0) or status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
