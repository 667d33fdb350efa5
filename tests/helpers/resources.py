"""Registers, spills and shared memory of the compiled kernels. `python tests/helpers/resources.py` prints them as a
table."""

import re
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from helpers import nvrtc
from helpers.emulated import library
from helpers.kernels import kernels

# A wheel for x86-64 has machine code for these: RELEASED of setup.py.
ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120")


class Resources(NamedTuple):
    registers: int
    stack: int  # bytes, as the next two
    spill_stores: int
    spill_loads: int


@cache
def compiled(arch):
    """({kernel: Resources} as ptxas says, [cubin])."""
    made = nvrtc.shipped(arch)
    entry = (
        r"Compiling entry function '(\w+)'.*?(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads"
        r".*?Used (\d+) registers"
    )
    found = {}
    for _, _, log in made:
        for name, stack, stores, loads, registers in re.findall(entry, log.read_text(), re.DOTALL):
            found[name] = Resources(int(registers), int(stack), int(stores), int(loads))
    return found, [cubin for cubin, _, _ in made]


# Diagonal LSTM, 16 images of 32 x 32, on compute capability 9.0: the plan's shared memory, by hidden size.
SIZES = (16, 64, 128)


def main():
    by_arch = {arch: compiled(arch)[0] for arch in ARCHITECTURES}
    print("| kernel | threads at most | registers " + " / ".join(ARCHITECTURES) + " | spills |")
    print("|---|---|---|---|")
    for kernel in kernels():
        use = [by_arch[arch][kernel.name] for arch in ARCHITECTURES]
        spills = sum(u.spill_stores + u.spill_loads for u in use)
        print(f"| `{kernel.name}` | {kernel.threads} | {' / '.join(str(u.registers) for u in use)} | {spills} |")
    emulated = library.load("sm_90")
    sites = [site for kernel in kernels() for site in emulated.emulator.sites(kernel.name)]
    print(f"\n{sum(len(site.modes) for site in sites)} mutants in {len(sites)} places of {len(kernels())} kernels")
    describe = emulated.ops.describe_plan
    print(f"\n| Diagonal LSTM, 16 images of 32 x 32 | {' | '.join(f'h = {h}' for h in SIZES)} |")
    print("|---|" + "---|" * len(SIZES))
    for format in ("bf16", "fp16", "tf32", "fp32"):
        for backward in (0, 1):
            plans = [describe(1, 16, 32, 32, hidden, 2, True, format, 90, "auto")[backward] for hidden in SIZES]
            print(
                f"| {format} {'backward' if backward else 'forward'} | "
                + " | ".join(plan.partition(": ")[2] for plan in plans)
                + " |"
            )


if __name__ == "__main__":
    main()
