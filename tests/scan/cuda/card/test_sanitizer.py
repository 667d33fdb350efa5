"""compute-sanitizer on a few small scans. It takes minutes: benchmarks/gpu_day runs this file last."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import child
from helpers.gpu import skip_without_a_gpu

skip_without_a_gpu()
pytestmark = pytest.mark.cuda


@pytest.mark.parametrize("tool", ["memcheck", "synccheck", "racecheck"])
def test_compute_sanitizer(tool):
    sanitizer = shutil.which("compute-sanitizer") or shutil.which("compute-sanitizer", path="/usr/local/cuda/bin")
    if sanitizer is None:
        pytest.skip("compute-sanitizer is not installed")
    script = Path(__file__).with_name("sanitize.py")
    # Every tensor in memory of its own, so that a step beyond one is seen.
    environment = child.environment() | {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
    command = [sanitizer, "--tool", tool, "--error-exitcode", "9", sys.executable, str(script), tool]
    limit = float(os.environ.get("PIXELRNN_SANITIZER_SECONDS", "120"))
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        pytest.skip(f"compute-sanitizer's {tool} takes more than {limit:g} s here")
    text = done.stdout + done.stderr
    if "Device not supported" in text:
        pytest.skip("compute-sanitizer does not support this GPU")
    assert done.returncode == 0 and " scans\n" in text, text[-6000:]
