"""The compiled kernels: the rows of csrc/cuda/kernel_list.h."""

from functools import cache
from typing import NamedTuple

from helpers.root import ROOT

KERNEL_LIST = ROOT / "csrc" / "cuda" / "kernel_list.h"
FORMATS = ("bf16", "fp16", "tf32", "fp32")
FORMATS_OF_ROW = {"HALF": FORMATS[:2], "TF32": FORMATS[2:3], "TENSOR": FORMATS[:3], "ANY": FORMATS}
BLOCKS = {"single": (1,), "cluster": (2, 4, 8), "images": (8,)}


class Kernel(NamedTuple):
    """A kernel of one format."""

    format: str
    backward: bool
    held: str  # where the weights stay, as the name says it
    pairs: tuple  # of weights of a warp in registers and in shared memory (None: any number), at most
    own: int  # the most tiles of a warp (forward), units of a thread (backward; 0: two, of any number of cells)
    threads: int  # at most
    kind: str  # the launch: of BLOCKS
    gates: int  # of a unit

    @property
    def suffix(self):
        """As the path of an operator names it, for both passes, single blocks and clusters."""
        return f"{self.held}_{self.own}_{self.threads}" + ("_images" if self.kind == "images" else "")

    @property
    def blocks(self):
        """The numbers of blocks of an image that it runs with."""
        return BLOCKS[self.kind]

    @property
    def name(self):
        return f"{self.scan}_{self.format}_{self.held}_{self.own}_{self.threads}_{self.kind}"

    @property
    def scan(self):
        """The pass, as the name says it."""
        return ("backward" if self.backward else "forward") + ("5" if self.gates == 5 else "")


@cache
def every_kernel():
    """Returns the kernels in the order of C++."""
    found = []
    for line in KERNEL_LIST.read_text().splitlines():
        group, _, columns = line.strip(" \\").removesuffix(")").partition("(")
        if group not in FORMATS_OF_ROW or not line.startswith(" "):
            continue
        scan, held, registers, shared, own, threads, kind = columns.split(", ")
        pairs = int(registers), None if shared == "Held::kAny" else int(shared)
        sizes = held, pairs, int(own), int(threads), kind, 5 if scan.endswith("5") else 4
        found += [Kernel(format, scan.startswith("backward"), *sizes) for format in FORMATS_OF_ROW[group]]
    return found


def kernels(gates=4):
    """Returns the kernels of cells with so many gates."""
    return [kernel for kernel in every_kernel() if kernel.gates == gates]


def variants(gates=4):
    """[(format, suffix, blocks)] of either pass: operators take one suffix for both, see csrc/cuda/path.h."""
    found = {(kernel.format, kernel.suffix, blocks) for kernel in kernels(gates) for blocks in kernel.blocks}
    return sorted(found, key=lambda v: (FORMATS.index(v[0]), v[1:]))


def source_of(names):
    """Returns the text of a .cu file that makes these kernels alone."""
    chosen = [kernel for kernel in every_kernel() if kernel.name in names]
    text = '#include "kernels.cuh"\n'
    for format, gates in sorted({(k.format, k.gates) for k in chosen}):
        text += f"PACK(pack{'5' if gates == 5 else ''}_{format}, {format}, {gates})\n"
    for k in chosen:
        shared = "Held::kAny" if k.pairs[1] is None else k.pairs[1]
        text += f"KERNEL({k.format}, {k.scan}, {k.held}, {k.pairs[0]}, {shared}, {k.own}, {k.threads}, {k.kind})\n"
    return text
