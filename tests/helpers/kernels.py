"""Reads csrc/cuda/kernel_list.h, the list of resident kernels, which compute a whole scan in one launch."""

from functools import cache
from typing import NamedTuple

from helpers.root import ROOT

KERNEL_LIST = ROOT / "csrc" / "cuda" / "kernel_list.h"
FORMATS = ("bf16", "fp16", "tf32", "fp32")
FORMATS_OF_ROW = {"HALF": FORMATS[:2], "TF32": FORMATS[2:3], "TENSOR": FORMATS[:3], "ANY": FORMATS}
BLOCKS = {"single": (1,), "cluster": (2, 4, 8), "images": (8,)}


class Kernel(NamedTuple):
    """A resident kernel for one format, with the most pairs, tiles and threads that it takes.

    A pair is 64 bytes of a row of the weight, which a tensor core multiplies in two steps.
    """

    format: str
    backward: bool
    held: str  # place of the weights: "4s" keeps 4 pairs of each row in registers, the others in shared memory
    pairs: tuple  # most pairs (64 bytes) of a row in registers, and in shared memory (None: no limit)
    tiles_or_units: int  # tiles of a warp (forward), or hidden units of a thread (backward; 0: two units of many cells)
    threads: int  # threads of a block
    kind: str  # kind of launch: a key of BLOCKS
    gates: int  # gates of a hidden unit

    @property
    def suffix(self):
        """Returns the kernel's name in a path, such as "4_1_256" (csrc/cuda/path.h), without pass and format."""
        return f"{self.held}_{self.tiles_or_units}_{self.threads}" + ("_images" if self.kind == "images" else "")

    @property
    def blocks(self):
        return BLOCKS[self.kind]

    @property
    def name(self):
        return f"{self.scan}_{self.format}_{self.held}_{self.tiles_or_units}_{self.threads}_{self.kind}"

    @property
    def scan(self):
        """Returns the pass as in the kernel's name, such as "backward5"."""
        return ("backward" if self.backward else "forward") + ("5" if self.gates == 5 else "")


@cache
def every_kernel():
    """Returns all kernels in the order of kernel_list.h."""
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
    """Returns (format, suffix of the name, blocks of a cluster) of all kernels, without duplicates."""
    found = {(kernel.format, kernel.suffix, blocks) for kernel in kernels(gates) for blocks in kernel.blocks}
    return sorted(found, key=lambda v: (FORMATS.index(v[0]), v[1:]))


def source_of(names):
    """Returns the text of a .cu file with the named kernels and the kernels that pack their weights."""
    selected = [kernel for kernel in every_kernel() if kernel.name in names]
    text = '#include "kernels.cuh"\n'
    for format, gates in sorted({(k.format, k.gates) for k in selected}):
        text += f"PACK(pack{'5' if gates == 5 else ''}_{format}, {format}, {gates})\n"
    for k in selected:
        shared = "Pairs::kAny" if k.pairs[1] is None else k.pairs[1]
        text += f"KERNEL({k.format}, {k.scan}, {k.held}, {k.pairs[0]}, {shared}, "
        text += f"{k.tiles_or_units}, {k.threads}, {k.kind})\n"
    return text
