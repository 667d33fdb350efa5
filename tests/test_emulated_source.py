"""The kernels compiled from source by g++ on the emulator, under AddressSanitizer and UndefinedBehaviorSanitizer.

The sanitizers have to be there before Python, so each format runs in a process of its own.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from emulated import library
from emulated.kernels import FORMATS
from emulator import toolchain

pytestmark = pytest.mark.emulated

CHECK = """
import sys
sys.path.insert(0, {tests!r})
from emulated import library
from emulated.kernels import variants
from scans import Problem
from test_emulated import MAPS, compare

ops = library.load(front_end="source", checks="address").ops
for format, suffix, blocks in variants():
    if format == {format!r} and blocks <= 2:
        for geometry in ("bilstm", "row1"):
            compare(Problem(format, geometry, 16, 2, 5, 9), ops, f"auto:{{suffix}}:{{blocks}}")
resident = {format!r} != "fp64"
for size in MAPS[1:5]:
    if resident:
        compare(Problem({format!r}, "row3", 24, *size), ops, "resident")
    compare(Problem({format!r}, "row5", 7, *size), ops, "step")
compare(Problem({format!r}, "bilstm", 64 if resident else 20, 1, 5, 9), ops, "resident::8" if resident else "step")
print("checked")
"""


@pytest.mark.parametrize("format", ["fp64", *FORMATS])
def test_kernels_from_source_under_sanitizers(format, tmp_path):
    library.build(front_end="source", checks="address")
    check = CHECK.format(tests=str(Path(__file__).resolve().parent), format=format)
    environment = {**os.environ, **toolchain.environment("address")}
    done = subprocess.run(
        [sys.executable, "-c", check], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0 and done.stdout.endswith("checked\n"), done.stdout[-2000:] + done.stderr[-6000:]
