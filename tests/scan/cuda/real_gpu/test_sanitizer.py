"""Runs NVIDIA's compute-sanitizer, which finds faults in kernels, on small scans and images."""

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
LIMIT = float(os.environ.get("PIXELRNN_SANITIZER_SECONDS", "120"))
pytestmark = pytest.mark.cuda

# This expression for pytest's option -k selects scans with every number of thread blocks. It also selects tests that
# draw images on a GPU, except by PyTorch's operators.
SCANS = (
    "(in_other_formats and (row3 or bilstm) and not fp16)"
    " or (test_every_kernel and bilstm and s_1_512 and not (fp16 or gates))"
    " or (test_a_gpu_draws_what_a_cpu_draws and diagonal and not (multiscale or pytorch))"
)
TOOLS = {
    "memcheck": SCANS,
    "synccheck": SCANS,
    # racecheck does not support distributed shared memory, which clusters use.
    "racecheck": f"({SCANS}) and not (C2 or C4 or C8)",
}


@pytest.mark.sweep
@pytest.mark.cuda(seconds=LIMIT + 60)
@pytest.mark.parametrize("tool", TOOLS)
def test_compute_sanitizer(tool):
    sanitizer = shutil.which("compute-sanitizer") or shutil.which("compute-sanitizer", path="/usr/local/cuda/bin")
    if sanitizer is None:
        pytest.skip("compute-sanitizer is not installed")
    # Without torch's memory cache, memcheck finds accesses beyond a tensor.
    # The tests run in the process that the sanitizer watches.
    environment = child.environment() | {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1", "PIXELRNN_GPU_CHILDREN": "0"}
    command = [sanitizer, "--tool", tool, "--error-exitcode", "9", sys.executable, "-m", "pytest", "-m", "cuda"]
    tests = ROOT / "tests"
    files = [tests / "scan/cuda/test_step.py", tests / "scan/cuda/test_kernels.py", tests / "models/test_real_gpu.py"]
    try:
        done = subprocess.run(
            [*command, "-k", TOOLS[tool], *files], env=environment, capture_output=True, text=True, timeout=LIMIT
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"compute-sanitizer's {tool} takes more than {LIMIT:g} s here")
    text = done.stdout + done.stderr
    if "Device not supported" in text:
        pytest.skip("compute-sanitizer does not support this GPU")
    assert done.returncode == 0, text[-6000:]
    assert all(re.search(rf"{file.name} [.s]*\.", text) for file in files), text[-6000:]
