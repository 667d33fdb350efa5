"""Reads the numbers of registers, and the bytes of stack and spilled memory, of each compiled CUDA kernel."""

import re
from typing import NamedTuple

# The architectures of a wheel for x86-64, which RELEASED in setup.py lists, too.
ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120")


class Resources(NamedTuple):
    registers: int
    stack: int  # in bytes, like the spills
    spill_stores: int
    spill_loads: int


def read(compiled):
    """Returns {name of a kernel: Resources} from the logs that the assembler ptxas wrote of compiled files."""
    entry = (
        r"Compiling entry function '(\w+)'.*?(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads"
        r".*?Used (\d+) registers"
    )
    found = {}
    for made in compiled:
        for name, stack, stores, loads, registers in re.findall(entry, made.log.read_text(), re.DOTALL):
            found[name] = Resources(int(registers), int(stack), int(stores), int(loads))
    return found
