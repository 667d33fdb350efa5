"""The kernels compiled from source by g++ on the emulator, under AddressSanitizer and UndefinedBehaviorSanitizer.

The sanitizers have to be there before Python, so this runs in a process of its own.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from emulator import toolchain

pytestmark = pytest.mark.emulated

CHECK = """
import sys
sys.path.insert(0, {tests!r})
from emulated import library
from emulated.kernels import FORMATS, variants
from scans import Problem
from test_emulated import MAPS, compare

ops = library.load(front_end="source", checks="address").ops
for format, suffix, blocks in variants():
    if blocks <= 2:
        for geometry in ("bilstm", "row1"):
            compare(Problem(format, geometry, 16, 2, 5, 9), ops, f"auto:{{suffix}}:{{blocks}}")
for format in FORMATS:
    for size in MAPS[1:5]:
        compare(Problem(format, "row3", 24, *size), ops, "resident")
        compare(Problem(format, "row5", 7, *size), ops, "step")
compare(Problem("bf16", "bilstm", 64, 1, 5, 9), ops, "resident::8")
compare(Problem("fp64", "bilstm", 20, 1, 5, 9), ops, "step")
print("checked")
"""


def test_kernels_from_source_under_sanitizers(tmp_path):
    tests = str(Path(__file__).resolve().parent)
    environment = {**os.environ, **toolchain.environment("address")}
    command = [sys.executable, "-c", CHECK.format(tests=tests)]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0 and done.stdout.endswith("checked\n"), done.stdout[-2000:] + done.stderr[-6000:]
