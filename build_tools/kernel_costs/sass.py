"""Reads the instructions of compiled kernels from sm_90 machine code, with their control words and source lines.

nvdisasm prints an instruction as two 64-bit words. Bits 41 to 61 of the second word are the control word. It has these
fields, from the lowest bit on:

    stall 4 bits   cycles until the warp may issue its next instruction
    yield 1 bit
    write 3 bits   number of the scoreboard that the instruction sets until its result is ready; 7 means none
    read  3 bits   number of the scoreboard that the instruction sets until its operands are read; 7 means none
    wait  6 bits   mask of the scoreboards that must be clear before the instruction may issue

This encoding holds from Volta to Hopper. NVIDIA does not document it.
"""

import importlib.util
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

NO_SCOREBOARD = 7


class ToolError(RuntimeError):
    pass


@cache
def nvdisasm():
    triton = importlib.util.find_spec("triton")
    for folder in (None, *(triton.submodule_search_locations if triton else ())):
        if found := shutil.which("nvdisasm", path=folder and f"{folder}/backends/nvidia/bin"):
            return found
    raise ToolError("expected nvdisasm on PATH or in triton, got none: pip install nvidia-cuda-nvdisasm")


@dataclass
class Instruction:
    predicate: str
    opcode: str
    text: str
    stall: int
    write: int
    read: int
    wait: int
    target: str | None = None
    positions: tuple = ()  # (file, line), the innermost inlined function first

    @cached_property
    def name(self):
        return self.opcode.split(".")[0]

    @cached_property
    def is_branch(self):
        return self.name in ("BRA", "JMP")

    @cached_property
    def waits_for_mbarrier(self):
        return self.opcode.startswith("SYNCS.PHASECHK")


@dataclass
class Kernel:
    name: str
    code: list = field(default_factory=list)
    labels: dict = field(default_factory=dict)  # {label: index of the instruction after it}

    def target_of(self, n):
        """Returns the index of a branch's target, or None if it is in another function."""
        return self.labels.get(self.code[n].target)

    def calls_between(self, n, end):
        return any(i.name == "CALL" for i in self.code[n:end])

    def successors(self, n):
        i = self.code[n]
        after = [n + 1] if n + 1 < len(self.code) else []
        if i.is_branch:
            target = self.target_of(n)
            conditional = i.predicate or ".DIV" in i.opcode or re.search(r" U?P", i.text.split("`")[0])
            return ([] if target is None else [target]) + (after if conditional else [])
        if i.name in ("EXIT", "RET"):
            return after if i.predicate else []
        return after


_INSTRUCTION = re.compile(r"\s*/\*[0-9a-f]{4,}\*/\s+(?:@(!?U?P[\dT]+)\s+)?(.*?)\s*;?\s*/\* 0x([0-9a-f]+) \*/")
_SECOND_WORD = re.compile(r"\s*/\* 0x([0-9a-f]+) \*/")
_POSITION = re.compile(r'\s*//## File "([^"]+)", line (\d+)')
_LABEL = re.compile(r"\s*(\.L_[\w$]+|\$[\w$]+):")
_SECTION = re.compile(r"\.text\.([\w$]+):")


@cache
def kernels(cubin):
    done = subprocess.run([nvdisasm(), "-hex", "-gi", cubin], capture_output=True, text=True)
    if done.returncode:
        raise ToolError(f"expected a file that nvdisasm reads, got {cubin}: {done.stderr[-2000:]}")
    return parse(done.stdout.splitlines())


def parse(lines):
    found, kernel, labels, positions, after_code, pending = {}, None, [], (), True, None
    for line in lines:
        if section := _SECTION.fullmatch(line.strip()):
            kernel = found.setdefault(section[1], Kernel(section[1]))
            positions = ()
        elif line.startswith(("\t.section", ".section", "//-----")):
            kernel = None
        if kernel is None:
            continue
        if pending and (second := _SECOND_WORD.match(line)):
            kernel.labels.update(dict.fromkeys(labels, len(kernel.code)))
            kernel.code.append(_instruction(*pending, int(second[1], 16), positions))
            labels, pending, after_code = [], None, True
        elif m := _INSTRUCTION.match(line):
            pending = m[1] or "", m[2]
        elif m := _POSITION.match(line):
            positions = (() if after_code else positions) + ((m[1], int(m[2])),)
            after_code = False
        elif m := _LABEL.match(line):
            labels.append(m[1])
    return found


def _instruction(predicate, text, second_word, positions):
    control = second_word >> 41
    target = re.search(r"`\(([^)]+)\)", text)
    return Instruction(
        predicate,
        opcode=text.split()[0].rstrip(";"),
        text=text,
        stall=control & 15,
        write=control >> 5 & 7,
        read=control >> 8 & 7,
        wait=control >> 11 & 63,
        target=target and target[1],
        positions=positions,
    )


@cache
def _source(path):
    try:
        return Path(path).read_text(errors="replace").splitlines()
    except OSError:
        return []


@cache
def frames(positions):
    """Returns source lines as "file:line text". Leaves out headers of the CUDA toolkit if there are other files."""
    positions = [position for position in positions if "/include/" not in position[0]] or positions
    described = []
    for path, number in positions:
        lines = _source(path)
        text = lines[number - 1].strip() if 0 < number <= len(lines) else ""
        described.append(f"{Path(path).name}:{number} {text}")
    return described
