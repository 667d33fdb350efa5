"""Finds the version of NVRTC that compiles the kernels of a wheel."""

import re
import tempfile
from functools import cache
from pathlib import Path

import device_code

ROOT = Path(__file__).resolve().parents[2]
# NVRTC's version in the dependency group device-code. The tests' bounds and csrc/cuda/scan/costs.h hold only for it.
PINNED = "12.9.86"


@cache
def compiler():
    found = list(device_code.find_compilers())
    for nvrtc in found:
        if nvrtc.version == "12.9":
            return nvrtc
    known = ", ".join(nvrtc.version for nvrtc in found) or "none"
    raise RuntimeError(f"expected NVRTC 12.9, got {known}: pip install {' '.join(device_code.PACKAGES)}")


@cache
def version():
    """Returns the version of NVRTC, such as "12.9.86", from its PTX."""
    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder, "empty.cu")
        empty.touch()
        _, ptx, _ = compiler().compile(empty, "sm_90")
    return re.search(rb"\bV(\d+\.\d+\.\d+)", ptx)[1].decode()
