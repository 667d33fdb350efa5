"""Runs compute-sanitizer on a few small scans. It takes minutes, so benchmarks/gpu_day runs this file last."""

import os
import re
import shutil
import subprocess
import sys

import pytest

from helpers import child
from helpers.gpu import skip_without_a_gpu
from helpers.root import ROOT

skip_without_a_gpu()
pytestmark = pytest.mark.cuda

# Tests for pytest's -k. Their scans have lines that start and end inside a tile, and all numbers of blocks an image.
SCANS = (
    "(in_other_formats and (row3 or bilstm) and not fp16)"
    " or (test_every_kernel and bilstm and s_1_512 and not (fp16 or gates))"
)
TOOLS = {
    "memcheck": SCANS,
    "synccheck": SCANS,
    "racecheck": f"({SCANS}) and not (C2 or C4 or C8)",  # racecheck does not know distributed shared memory
}


@pytest.mark.parametrize("tool", TOOLS)
def test_compute_sanitizer(tool):
    sanitizer = shutil.which("compute-sanitizer") or shutil.which("compute-sanitizer", path="/usr/local/cuda/bin")
    if sanitizer is None:
        pytest.skip("compute-sanitizer is not installed")
    # Every tensor has its own allocation, so that memcheck sees an access beyond it.
    environment = child.environment() | {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
    command = [sanitizer, "--tool", tool, "--error-exitcode", "9", sys.executable, "-m", "pytest", "-m", "cuda"]
    files = [ROOT / "tests" / "scan" / "cuda" / name for name in ("test_step.py", "test_kernels.py")]
    limit = float(os.environ.get("PIXELRNN_SANITIZER_SECONDS", "120"))
    try:
        done = subprocess.run(
            [*command, "-k", TOOLS[tool], *files], env=environment, capture_output=True, text=True, timeout=limit
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"compute-sanitizer's {tool} takes more than {limit:g} s here")
    text = done.stdout + done.stderr
    if "Device not supported" in text:
        pytest.skip("compute-sanitizer does not support this GPU")
    assert done.returncode == 0, text[-6000:]
    assert all(re.search(rf"{file.name} [.s]*\.", text) for file in files), text[-6000:]  # each file has tests that ran
