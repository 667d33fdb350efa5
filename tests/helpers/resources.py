"""Reads the numbers of registers, and the bytes of stack and spilled memory, of each compiled CUDA kernel."""

import re
from functools import cache
from typing import NamedTuple

from . import nvrtc

# The architectures of a wheel for x86-64, which RELEASED in setup.py lists, too.
ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120")


class Resources(NamedTuple):
    registers: int
    stack: int  # in bytes, like the spills
    spill_stores: int
    spill_loads: int


@cache
def resources_and_cubins(arch):
    """Returns {name of a kernel: Resources} from the log of the assembler ptxas, and the paths of the cubin files."""
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
