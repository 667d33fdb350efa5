import re

from .kernel import Kernel
from .parser import Places
from .types import TYPES, size_of


class Module:
    def __init__(self, text):
        self.places = Places(text)
        text = re.sub(r"//[^\n]*|/\*.*?\*/", "", text, flags=re.DOTALL).split(".section")[0]
        self.text = text
        # {shared variable: (alignment, bytes)}. The bytes are None for dynamic shared memory.
        self.shared = {}
        for m in re.finditer(r"\.shared\s+\.align\s+(\d+)\s+\.(\w+)\s+([\w$]+)(\[(\d*)\])?", text):
            count = 1 if not m[4] else int(m[5]) if m[5] else None
            self.shared[m[3]] = int(m[1]), count and count * size_of(m[2])
        self.constants = {}
        for m in re.finditer(
            r"\.(?:global|const)\s+\.align\s+(\d+)\s+\.(\w+)\s+([\w$]+)\[(\d+)\]\s*=\s*\{([^}]*)\}", text
        ):
            self.constants[m[3]] = f"alignas({m[1]}) static const {TYPES[m[2]]} {m[3]}[{m[4]}] = {{{m[5]}}};"

    def translate(self):
        lines = ['#include "ptx.h"', "using namespace ptx;", *self.constants.values(), ""]
        for m in re.finditer(r"\.entry\s+([\w$]+)\s*\((.*?)\)([^{]*)\{", self.text, re.DOTALL):
            end, depth = m.end(), 1
            while depth:
                depth += (self.text[end] == "{") - (self.text[end] == "}")
                end += 1
            lines += Kernel(self, *m.groups()).translate(self.text[m.end() : end - 1])
        return "\n".join(lines) + "\n"
