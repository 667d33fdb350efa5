"""Runs the tests that a change may break, within a minute: `make quick` or `make quick FILES="csrc/cpu/scan.cpp"`.

Without FILES, git's uncommitted files or those of the last commit are the changed files. The package must be built in
place, as by `pip install -e .`.
"""

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 60
NO_TESTS_COLLECTED = 5


class Rule(NamedTuple):
    pattern: str
    # Arguments for pytest. {path} is the changed file, {folder} its folder, {subpackage} the second part of its path,
    # and {users} the tests that import it.
    tests: str
    builds: bool = False  # whether the CPU library is built first
    # CUDA kernels to run on the emulator. {format} is the last word of the changed file's name, such as bf16.
    kernels: str = ""


SCAN = "tests/scan/cpu/test_kernels.py tests/scan/test_against_oracle.py"
CONVOLUTION = "tests/masked_conv/test_masked_conv.py"
COLUMNS = "tests/sampling/test_sampling.py tests/codec/test_kernels.py tests/codec/test_known_files.py"
MUTANTS = "tests/scan/cuda/emulated/test_mutants.py"
OPERATORS = "tests/scan/cuda/test_operators.py tests/scan/cuda/test_step.py"
SINGLE = "forward_bf16_4_1_256_single backward_bf16_4_4_256_single"
EVERY_FORMAT = "forward_bf16_4_1_256_single forward_tf32_4_1_256_single forward_fp32_s_1_512_single"
KERNELS_OF_FORMAT = "forward_{format}_s_1_512_single backward_{format}_s_0_512_single"
# A pattern matches the beginning of a file's path. The first rule that matches applies.
RULES = [
    Rule("csrc/cpu/.*(scan[.]|weight)", SCAN, builds=True),
    Rule("csrc/cpu/.*range_coder", "tests/codec", builds=True),
    Rule("csrc/(cpu/.*|operators/)convolution[.]", CONVOLUTION, builds=True),
    Rule("csrc/(columns/|cpu/.*column|operators/column)", COLUMNS, builds=True),
    Rule("csrc/cpu/", f"{SCAN} {CONVOLUTION} {COLUMNS}", builds=True),
    Rule("csrc/(cuda/(column|block_)|operators/cuda/column)", "tests/sampling/test_gpu.py", kernels=SINGLE),
    Rule("csrc/operators/cuda/|csrc/cuda/(step|gradients).*[.]cu", OPERATORS, kernels=SINGLE),
    Rule("csrc/operators/", "tests/scan/test_operators.py tests/scan/test_against_oracle.py", builds=True),
    Rule("csrc/cuda/.*images", MUTANTS, kernels="forward_bf16_8_1_256_images"),
    Rule("csrc/cuda/.*5_.*[.]cu$", MUTANTS, kernels=KERNELS_OF_FORMAT.replace("ward", "ward5")),
    Rule("csrc/cuda/resident_.*[.]cu$", MUTANTS, kernels=KERNELS_OF_FORMAT),
    Rule("csrc/cuda/.*ackward", MUTANTS, kernels="backward_bf16_4_4_256_single backward_bf16_4_1_512_cluster"),
    Rule("csrc/cuda/(convert|format|math|product)[.]cuh", MUTANTS, kernels=EVERY_FORMAT),
    Rule("csrc/cuda/.*[.]cu", MUTANTS, kernels="forward_bf16_4_1_256_single forward_bf16_4_1_256_cluster"),
    Rule("csrc/cuda/", "tests/scan/cuda"),
    Rule("csrc/", f"tests/scan/test_cell.py tests/scan/test_cells.py tests/scan/test_geometry.py {SCAN}", builds=True),
    Rule("pixelrnn_ext/(operators/masked_conv/|masks)", "tests/masked_conv"),
    Rule("pixelrnn_ext/operators/library", "tests/cli/test_command.py tests/scan/cpu/test_kernels.py"),
    Rule("pixelrnn_ext/operators/columns", COLUMNS),
    Rule("pixelrnn_ext/operators/", "tests/scan"),
    Rule("pixelrnn_ext/pretrained/", "tests/models/test_pretrained.py"),
    Rule("pixelrnn_ext/(incremental/|sampling)", "tests/sampling"),
    Rule("pixelrnn_ext/benchmark/", "tests/benchmarks"),
    Rule("pixelrnn_ext/.*/", "tests/{subpackage}"),
    Rule("pixelrnn_ext/likelihood", "tests/models"),
    Rule("pixelrnn_ext/(_command|_process|__main__)", "tests/cli"),
    Rule("pixelrnn_ext/", "tests/scan tests/repository/test_import.py tests/repository/test_docstrings.py"),
    Rule("benchmarks/", "tests/benchmarks"),
    Rule("examples/", "tests/repository/test_examples.py"),
    Rule("tests/core/", "tests/scan/test_cell.py tests/scan/test_cells.py tests/scan/cuda/test_plan.py"),
    Rule("tests/(scan/cuda|helpers)/emulated/", OPERATORS, kernels=SINGLE),
    Rule("tests/.*test_.*[.]py", "{path}"),
    Rule("tests/helpers/", "{users} tests/helpers"),
    Rule("tests/", "{folder}"),
    Rule(".*[.]md", "tests/repository/test_documents.py tests/repository/test_snippets.py"),
    Rule(
        "build_tools/kernel_costs/",
        "tests/sass_model tests/scan/cuda",
    ),
    Rule("setup.py|build_tools/", "tests/repository/test_packaging.py"),
    Rule("", "tests/repository"),
]


def rule_of(path):
    return next(rule for rule in RULES if re.match(rule.pattern, path))


def users_of(path):
    name = Path(path).stem
    imports = re.compile(rf"from helpers\.{name} import |from helpers import .*\b{name}\b")
    tests = sorted((ROOT / "tests").rglob("test_*.py"))
    return " ".join(test.relative_to(ROOT).as_posix() for test in tests if imports.search(test.read_text()))


def tests_of(path):
    parts = {"path": path, "folder": os.path.dirname(path), "subpackage": path.split("/")[1] if "/" in path else ""}
    tests = rule_of(path).tests
    return tests.format(**parts, users=users_of(path) if "{users}" in tests else "").split()


def kernels_of(path):
    return rule_of(path).kernels.format(format=Path(path).stem.rpartition("_")[2]).split()


def git_files(*arguments):
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True).stdout.split()


def changed_files():
    found = git_files("diff", "--name-only", "HEAD") + git_files("ls-files", "--others", "--exclude-standard")
    return found or git_files("diff", "--name-only", "HEAD~1", "HEAD")


def relative_to_root(path):
    """Returns a path relative to the repository's root. Exits if it is neither a file nor known to git."""
    full = Path(os.path.normpath(ROOT / path))
    if full.is_relative_to(ROOT):
        name = full.relative_to(ROOT).as_posix()
        if full.is_file() or git_files("ls-files", name) == [name]:
            return name
    sys.exit(f"expected the path of a file of this repository, got {path!r}")


def run_tests(tests, seconds, kernels):
    """Runs tests and returns pytest's exit status. No test starts more than ``seconds`` after this call.

    If ``kernels`` names CUDA kernels, only the emulator's tests of these kernels are run, and a few general ones.
    """
    command = ["pytest", "-q", "-n", "2", "--until", f"{time.time() + seconds:.0f}", *tests]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))}
    if kernels:
        command += ["-m", "emulated", "-k", " or ".join(["sm_90 and (step_path or border or taps)", *kernels])]
        environment["PIXELRNN_ONLY_KERNELS"] = " ".join(kernels)
    status = subprocess.run(command, cwd=ROOT, env=environment).returncode
    return 0 if status == NO_TESTS_COLLECTED else status


def main(paths):
    # No test starts in the last 20 seconds, so that running tests can end.
    end = time.monotonic() + SECONDS - 20
    paths = [relative_to_root(path) for path in paths] or changed_files()
    rules = list(dict.fromkeys(rule_of(path) for path in paths))
    print(f"changed: {' '.join(paths) or 'nothing'}", flush=True)
    if any(rule.builds for rule in rules) or not (ROOT / "pixelrnn_ext" / "_C.so").exists():
        print("building the CPU library in place; a CUDA library stays as it is", flush=True)
        if status := subprocess.run(["make", "build"], cwd=ROOT).returncode:
            return status
    python = [path for path in paths if path.endswith(".py") and (ROOT / path).exists()]
    status = subprocess.run(["ruff", "check", *python], cwd=ROOT).returncode if python else 0
    chosen = {}  # {whether the tests run on the emulator: the tests}
    kernels = list(dict.fromkeys(name for path in paths for name in kernels_of(path)))
    for path in paths:
        chosen.setdefault(bool(rule_of(path).kernels), []).extend(tests_of(path))
    for emulated, found in chosen.items():
        tests = list(dict.fromkeys(test for test in found if (ROOT / test).exists()))
        print(f"tests: {' '.join(tests) or 'none'} {' '.join(kernels) if emulated else ''}", flush=True)
        if tests:
            seconds = max(end - time.monotonic(), 8)
            status = run_tests(tests, seconds, kernels if emulated else []) or status
    print("Left to CI: skipped and long tests, and all kernels and folders not named above.")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
