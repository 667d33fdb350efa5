"""What `import pixelrnn_ext` costs beyond `import torch`, and what is left where the CUDA kernels do not fit torch."""

import shutil
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest
import torch

import child
import pixelrnn_ext
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


# Which CUDA torch has is made up; that the kernels do not load is real.
WITH_CUDA_KERNELS = """
import sys
import torch
torch.version.cuda = sys.argv[1] or None
import pixelrnn_ext as px
assert px.__file__.startswith(sys.argv[2]), px.__file__
assert px.DiagonalLSTM(1, 2)(torch.ones(1, 1, 2, 2)).isfinite().all()
config = px.build_config()
print(config["native"], config["why_no_cuda"], sep="|")
"""


@pytest.mark.parametrize(
    ("cuda", "why"),
    [
        pytest.param("", f"torch {torch.__version__} is built without CUDA", id="CPU-only-torch"),
        pytest.param("99.0", f"do not load on torch {torch.__version__}: ", id="another-CUDA"),
    ],
)
def test_cuda_kernels_that_do_not_fit_leave_the_cpu_kernels_and_a_reason(cuda, why, tmp_path):
    package = tmp_path / "pixelrnn_ext"
    left_out = shutil.ignore_patterns("_C_cuda*", "__pycache__")
    shutil.copytree(Path(pixelrnn_ext.__file__).parent, package, ignore=left_out)
    (package / f"_C_cuda{EXTENSION_SUFFIXES[0]}").write_text("a stand-in, which does not load")
    command = [sys.executable, "-c", WITH_CUDA_KERNELS, cuda, str(tmp_path)]
    done = subprocess.run(command, env=child.environment(tmp_path), cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    native, reason = done.stdout.strip().split("|", 1)
    assert native == str(pixelrnn_ext.build_config()["native"])
    assert why in reason
