"""The kernels compiled from source by g++ on the emulator, under AddressSanitizer and UndefinedBehaviorSanitizer.

The sanitizers have to be there before Python, so each format runs in a process of its own.
"""

import os
import subprocess
import sys

import pytest

from emulator import toolchain
from helpers.emulated import library
from helpers.kernels import FORMATS
from helpers.root import ROOT

pytestmark = pytest.mark.emulated

CHECK = """
import sys
sys.path.insert(0, {tests!r})
from helpers.kernels import variants
from helpers.scans import Problem
from helpers.emulated import library
from scan.cuda.emulated.comparison import MAPS, compare

format, ops = sys.argv[1], library.load(front_end="source", checks="address").ops

def check(path, geometry, hidden, *maps):
    compare(Problem(format, geometry, hidden, maps, input=False), ops, path)

for size in MAPS[1:5]:
    check("step", "row5", 7, *size)
check("step", "bilstm", 20, 1, 5, 9)
if format != "fp64":
    for other, suffix, blocks in variants():
        if other == format and blocks <= 2:
            for geometry in ("bilstm", "row1"):
                check(f"auto:{{suffix}}:{{blocks}}", geometry, 16, 2, 5, 9)
    for size in MAPS[1:5]:
        check("resident", "row3", 24, *size)
    check("resident::8", "bilstm", 64, 1, 5, 9)
print("checked")
"""


@pytest.mark.parametrize("format", ["fp64", *FORMATS])
def test_kernels_from_source_under_sanitizers(format, tmp_path):
    library.build(front_end="source", checks="address")
    command = [sys.executable, "-c", CHECK.format(tests=str(ROOT / "tests")), format]
    environment = {**os.environ, **toolchain.environment("address")}
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0 and done.stdout.endswith("checked\n"), done.stdout[-2000:] + done.stderr[-6000:]
