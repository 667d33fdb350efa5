"""Reads the registers, the stack and the spills of the compiled kernels."""

import re
from functools import cache
from typing import NamedTuple

from . import nvrtc

# Architectures for which a wheel for x86-64 has machine code: RELEASED in setup.py.
ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120")


class Resources(NamedTuple):
    registers: int
    stack: int  # bytes, like the spills
    spill_stores: int
    spill_loads: int


@cache
def resources_and_cubins(arch):
    """Returns {kernel: Resources}, as ptxas reports them, and the list of cubins."""
    files = nvrtc.compile_for_wheel(arch)
    entry = (
        r"Compiling entry function '(\w+)'.*?(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads"
        r".*?Used (\d+) registers"
    )
    found = {}
    for _, _, log in files:
        for name, stack, stores, loads, registers in re.findall(entry, log.read_text(), re.DOTALL):
            found[name] = Resources(int(registers), int(stack), int(stores), int(loads))
    return found, [cubin for cubin, _, _ in files]
