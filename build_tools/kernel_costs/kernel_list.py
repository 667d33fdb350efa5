"""Reads csrc/cuda/scan/kernel_list.h, the list of resident kernels, which compute a whole scan in one launch."""

from functools import cache
from pathlib import Path
from typing import NamedTuple

KERNEL_LIST = Path(__file__).resolve().parents[2] / "csrc" / "cuda" / "scan" / "kernel_list.h"
FORMATS = ("bf16", "fp16", "tf32", "fp32")
FORMATS_OF_ROW = {"HALF": FORMATS[:2], "TF32": FORMATS[2:3], "TENSOR": FORMATS[:3], "ANY": FORMATS}
BLOCKS = {"single": (1,), "cluster": (2, 4, 8), "images": (8,)}


class Kernel(NamedTuple):
    """A resident kernel for one number format."""

    format: str
    backward: bool
    # Where a thread block keeps its weights. "4s" means 4 * 64 bytes of each weight row in registers, and the rest in
    # shared memory.
    held: str
    # The most 64-byte pieces of a weight row in (registers, shared memory), None without a limit.
    pairs: tuple
    # In a forward kernel, this is the largest number of tiles (8 cells each) that a warp computes. In a backward
    # kernel, this is the number of hidden units that a thread computes for its only cell, or 0 if a thread computes
    # several cells.
    tiles_or_units: int
    threads: int
    kind: str  # a key of BLOCKS
    gates: int

    @property
    def suffix(self):
        """Returns the part of the kernel's name with which ``path`` can force the kernel, such as "4_1_256"."""
        return f"{self.held}_{self.tiles_or_units}_{self.threads}" + ("_images" if self.kind == "images" else "")

    @property
    def blocks(self):
        return BLOCKS[self.kind]

    @property
    def name(self):
        return f"{self.scan}_{self.format}_{self.held}_{self.tiles_or_units}_{self.threads}_{self.kind}"

    @property
    def scan(self):
        return ("backward" if self.backward else "forward") + ("5" if self.gates == 5 else "")


@cache
def every_kernel():
    found = []
    for line in KERNEL_LIST.read_text().splitlines():
        group, _, columns = line.strip(" \\").removesuffix(")").partition("(")
        if group not in FORMATS_OF_ROW or not line.startswith(" "):
            continue
        scan, held, registers, shared, own, threads, kind = columns.split(", ")
        pairs = int(registers), None if shared == "Pairs::kAny" else int(shared)
        sizes = held, pairs, int(own), int(threads), kind, 5 if scan.endswith("5") else 4
        found += [Kernel(format, scan.startswith("backward"), *sizes) for format in FORMATS_OF_ROW[group]]
    return found


def kernels(gates=4):
    return [kernel for kernel in every_kernel() if kernel.gates == gates]


def variants(gates=4):
    """Returns all variants (number format, suffix of the kernel's name, number of thread blocks of a cluster).

    A forward and a backward kernel of the same suffix share a variant.
    """
    found = {(kernel.format, kernel.suffix, blocks) for kernel in kernels(gates) for blocks in kernel.blocks}
    return sorted(found, key=lambda v: (FORMATS.index(v[0]), v[1:]))


def source_of(names):
    """Returns the text of a .cu file that defines some kernels, and the kernels that pack their weights."""
    selected = [kernel for kernel in every_kernel() if kernel.name in names]
    text = '#include "kernels.cuh"\n'
    for format, gates in sorted({(k.format, k.gates) for k in selected}):
        text += f"PACK(pack{'5' if gates == 5 else ''}_{format}, {format}, {gates})\n"
    for k in selected:
        shared = "Pairs::kAny" if k.pairs[1] is None else k.pairs[1]
        text += f"KERNEL({k.format}, {k.scan}, {k.held}, {k.pairs[0]}, {shared}, "
        text += f"{k.tiles_or_units}, {k.threads}, {k.kind})\n"
    return text
