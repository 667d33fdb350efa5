"""The compiled kernels, read from csrc/cuda/variants.h."""

import re
from functools import cache
from typing import NamedTuple

from helpers.root import ROOT

VARIANTS = ROOT / "csrc" / "cuda" / "variants.h"
FORMATS = ("bf16", "fp16", "tf32", "fp32")
_MACRO = {"bf16": "HALF", "fp16": "HALF", "tf32": "TF32", "fp32": "FP32"}
IN_NAMES = {4: "", 5: "5"}  # how names of kernels and of their files say the number of gates
BLOCKS = {"single": (1,), "cluster": (2, 4, 8), "images": (8,)}


class Kernel(NamedTuple):
    format: str
    backward: bool
    held: str  # where the weights are: pairs in registers; s: in shared memory
    own: int  # the most tiles of a warp (forward), units of a thread (backward; 0: of any number of cells)
    threads: int
    kind: str
    gates: int = 4  # of a unit

    @property
    def suffix(self):
        """As the path of an operator names it, for both passes, single blocks and clusters."""
        return f"{self.held}_{self.own}_{self.threads}" + ("_images" if self.kind == "images" else "")

    @property
    def pairs(self):
        """Of the weights of a warp's slice: the most in registers, and in shared memory; there `s` has them all (0,
        None)."""
        return held()[self.held]

    @property
    def blocks(self):
        """The numbers of blocks of an image that it runs with."""
        return BLOCKS[self.kind]

    @property
    def name(self):
        name = f"{'backward' if self.backward else 'forward'}{IN_NAMES[self.gates]}_{self.format}_{self.suffix}"
        return name if self.kind == "images" else f"{name}_{self.kind}"


@cache
def held():
    """{the name of a place for weights: (pairs in registers, in shared memory)}; None: any number of pairs."""
    found = re.findall(r"kHeld_(\w+)\{(\d+), (?:(\d+)|Held::kAny)\}", VARIANTS.read_text())
    return {name: (int(registers), int(shared) if shared else None) for name, registers, shared in found}


def kernels(gates=4):
    """Those of cells with so many gates, in the order of variants.h."""
    text = VARIANTS.read_text()
    found = []
    for format in FORMATS:
        number = IN_NAMES[gates]
        rows = re.search(rf"#define PIXELRNN_{_MACRO[format]}_VARIANTS{number}\(F\)(.*?)\n\n", text, re.DOTALL)[1]
        for row in re.findall(rf"PIXELRNN_(FORWARD|BACKWARD){number}\(F, (\w+), (\d+), (\d+), (\w+)\)", rows):
            found.append(Kernel(format, row[0] == "BACKWARD", row[1], int(row[2]), int(row[3]), row[4], gates))
    return found


def variants(gates=4):
    """[(format, suffix, blocks)] of either pass: operators take one suffix for both, see csrc/cuda/path.h."""
    found = {(kernel.format, kernel.suffix, blocks) for kernel in kernels(gates) for blocks in kernel.blocks}
    return sorted(found, key=lambda v: (FORMATS.index(v[0]), v[1:]))
