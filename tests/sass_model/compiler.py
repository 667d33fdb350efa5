"""The compiler that the model's figures are for, and the disassembler.

Another version of NVRTC makes other code, so the bounds and the committed table hold for PINNED alone, which
`pip install --group device-code` installs. With another one the tests report only.
"""

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

from helpers import nvrtc

PINNED = "12.9.86"


class ToolError(RuntimeError):
    pass


@cache
def version():
    """Returns NVRTC's version, such as 12.9.86, which its PTX names."""
    [made] = nvrtc.compiled([Path(__file__).with_name("first_generation.cu")])
    return re.search(r"\bV(\d+\.\d+\.\d+)", made.ptx.read_text())[1]


@cache
def nvdisasm():
    """Returns the nvdisasm on PATH, or else that of the triton package."""
    candidates = [Path(found) for found in [shutil.which("nvdisasm")] if found]
    try:
        import triton

        candidates.append(Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "nvdisasm")
    except ImportError:
        pass
    for candidate in filter(Path.exists, candidates):
        return candidate
    raise ToolError("expected nvdisasm on PATH or in triton, got none: pip install nvidia-cuda-nvdisasm")


def disassemble(cubin):
    done = subprocess.run([nvdisasm(), "-hex", "-gi", cubin], capture_output=True, text=True)
    if done.returncode:
        raise ToolError(f"expected nvdisasm to read {cubin}: {done.stderr[-2000:]}")
    return done.stdout
