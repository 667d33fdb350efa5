"""The compiled kernels, read from csrc/cuda/variants.h."""

import re
from typing import NamedTuple

from .library import CSRC

FORMATS = ("bf16", "fp16", "tf32", "fp32")
_MACRO = {"bf16": "HALF", "fp16": "HALF", "tf32": "TF32", "fp32": "FP32"}


class Kernel(NamedTuple):
    format: str
    backward: bool
    suffix: str

    @property
    def threads(self):
        return int(self.suffix.split("_")[1])

    @property
    def name(self):
        return f"{'backward' if self.backward else 'forward'}_{self.format}_{self.suffix}"


def kernels():
    text = (CSRC / "cuda" / "variants.h").read_text()
    found = []
    for format in FORMATS:
        lines = re.search(rf"#define PIXELRNN_{_MACRO[format]}_VARIANTS\(F\)(.*?)\n\n", text, re.DOTALL)[1]
        for direction, pairs, threads in re.findall(r"(FORWARD|BACKWARD)\(F, (\d+), \d+, (\d+)\)", lines):
            found.append(Kernel(format, direction == "BACKWARD", f"{pairs}_{threads}"))
    return found


def suffixes(format):
    """Of either pass: operators take one for both, see csrc/cuda/recurrence.h."""
    return sorted({kernel.suffix for kernel in kernels() if kernel.format == format})
