"""The CUDA kernels are planned and loaded for the first time while a CUDA graph is captured.

The emulator refuses a thread that captures what loads a kernel, unless the thread is in relaxed mode. A process asks
the device once, so the capture has a process of its own.
"""

import subprocess
import sys
from pathlib import Path

import pytest

import child
from emulated import library

pytestmark = pytest.mark.emulated

CAPTURE = """
import ctypes, sys
import torch
from emulated import library
from scans import Problem, Problem2d

emulated = library.load(sys.argv[1])
problems = [(Problem("bf16", "bilstm", 16, 1, 3, 4), "resident"), (Problem("fp32", "row3", 7, 1, 3, 4), "step")]
problems += [(Problem2d("bf16", "stable", ("tl",), 16, (1, 3, 4)), path) for path in ("resident", "step")]
emulated.emulator.capture(True)
plans = emulated.ops.describe_plan(1, 1, 3, 4, 24, 3, False, "bf16", 0, "auto", 4)
assert not any("step path: the" in plan for plan in plans), plans
captured = [problem.run(emulated.ops, problem.dtype, path) for problem, path in problems]
mode = ctypes.c_int(0)
emulated.emulator.library.cudaThreadExchangeStreamCaptureMode(ctypes.byref(mode))
assert mode.value == 0, f"the thread is left in capture mode {mode.value}"
emulated.emulator.capture(False)
for (problem, path), got in zip(problems, captured):
    for name, tensor in problem.run(emulated.ops, problem.dtype, path).items():
        assert torch.equal(tensor, got[name]), (path, name)
print("captured")
"""


def test_kernels_are_planned_and_loaded_during_a_capture(arch, tmp_path):
    library.build(arch)
    command = [sys.executable, "-c", CAPTURE, arch]
    environment = child.environment(Path(__file__).parent)
    options = dict(cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    done = subprocess.run(command, **options)
    assert done.returncode == 0 and done.stdout == "captured\n", done.stdout[-2000:] + done.stderr[-3000:]
