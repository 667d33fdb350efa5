"""What `import pixelrnn_ext` costs beyond `import torch`."""

import subprocess
import sys

import torch

import child
from pixelrnn_ext.operators.precision import allows_tf32

# In processor time, which other processes do not lengthen much.
IMPORT = """
import sys, time
import torch
before, start = set(sys.modules), time.process_time()
import pixelrnn_ext
print(time.process_time() - start, *sorted(set(sys.modules) - before))
"""
HEAVY = ("torch._dynamo", "torch._inductor", "sympy", "triton", "pixelrnn_ext.benchmark", "pixelrnn_ext.training")


def test_import_is_light():
    environment = child.environment(without=["PYTHONDONTWRITEBYTECODE"])
    seconds = []
    for _ in range(2):  # the first one may have to compile the sources
        done = subprocess.run([sys.executable, "-c", IMPORT], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        time, *loaded = done.stdout.split()
        seconds.append(float(time))
        heavy = [name for name in loaded if any(f"{name}.".startswith(f"{module}.") for module in HEAVY)]
        assert "pixelrnn_ext" in loaded and not heavy, f"expected none of {', '.join(HEAVY)}, got {heavy[:5]}"
    assert min(seconds) <= 0.1, f"expected at most 0.1 s beyond torch, got {min(seconds):.2f} s"


def test_whether_tf32_is_allowed_is_a_constant_of_compiled_code():
    """On a GPU every compiled layer asks; torch cannot trace the question."""

    @torch.compile(fullgraph=True, backend="eager")
    def compiled(x):
        return x + 1 if allows_tf32() else x - 1

    assert compiled(torch.zeros(1)).item() == (1 if allows_tf32() else -1)
