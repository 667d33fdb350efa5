"""Predicts the cycles of one line (row or anti-diagonal) of a scan, by simulating the warps of one scheduler.

Latencies, and the cycles for which an instruction occupies a pipe, come from published microbenchmarks of Hopper and
Ampere. All else comes from the kernel's machine code.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import NamedTuple

from . import flow, sass

# Cycles from the issue of an instruction that sets a scoreboard until its result may be used. The machine code encodes
# all other waits.
LATENCY = {
    "LDSM": 33, "LDS": 29, "STS": 14, "SHFL": 24, "MUFU": 20, "F2F": 20, "I2F": 20, "F2I": 20, "LDC": 30, "ULDC": 8,
    "S2R": 22, "S2UR": 26, "R2UR": 12, "LDG": 300, "LDL": 30, "STG": 20, "ST": 20, "HMMA": 33, "REDUX": 20, "ATOM": 600,
    "VOTEU": 12, "MATCH": 20, "SYNCS": 30,
}  # fmt: skip
OTHER_LATENCY = 25
OPERANDS_READ = 12
# {pipe: (cycles for which an instruction occupies the pipe, instructions that use the pipe)}. The model has only one
# scheduler. If a GPU's four schedulers share a pipe, the number of cycles here is four times the real number.
PIPES = {
    "special function": (8, {"MUFU", "F2F", "I2F", "F2I", "POPC", "FLO"}),
    "tensor": (6, {"HMMA", "IMMA"}),
    "integer": (2, {"LOP3", "IADD3", "ISETP", "SEL", "SHF", "PRMT", "LEA", "FSETP", "FSEL", "F2FP", "VIADD", "IMNMX",
                    "FMNMX", "PLOP3", "VIMNMX", "IABS", "LOP"}),
    "fma heavy": (2, {"IMAD"}),
    "fma": (1, {"FFMA", "FADD", "FMUL", "FSWZADD"}),
    "memory": (4, {"LDS", "STS", "LDG", "STG", "ST", "STAS", "LD", "SHFL", "LDL", "STL", "ATOM", "RED"}),
    "matrix load": (16, {"LDSM"}),
}  # fmt: skip
PIPE_OF = {name: (pipe, busy) for pipe, (busy, names) in PIPES.items() for name in names}
# BRANCH and FENCE are the numbers of cycles that a taken branch and a memory fence take. BLOCK_BARRIER and
# CLUSTER_BARRIER are the numbers of cycles from the arrival of the last warp until the barrier opens. TRANSFER is the
# number of cycles until a store to another block (st.async) arrives. CLUSTER_BARRIER, FENCE and TRANSFER are the least
# certain numbers.
BRANCH, BLOCK_BARRIER, CLUSTER_BARRIER, FENCE, TRANSFER = 8, 25, 250, 300, 250

NEVER = float("inf")
SCOREBOARDS = [[b for b in range(6) if mask >> b & 1] for mask in range(64)]


@dataclass
class Warp:
    pc: int
    ready: float = 0  # earliest cycle of the next issue
    clear: list = field(default_factory=lambda: [0.0] * 6)  # cycle from which each scoreboard is clear
    visits: Counter = field(default_factory=Counter)  # {index of a branch: how often the warp came to it in this line}
    lines: list = field(default_factory=list)  # cycle of each line's start
    arrived: bool = False  # at a block's barrier
    cluster_arrivals: list = field(default_factory=list)
    cluster_waits: int = 0
    stored: float = 0  # cycle in which the last store to another block arrives
    # For each phase of an mbarrier, the cycle by which the warp has arrived and its earlier stores are complete.
    phases: list = field(default_factory=list)


class Line(NamedTuple):
    cycles: float
    products: int  # multiply instructions that one warp issues


class Walk:
    def __init__(self, kernel, path, warps):
        self.code, self.path = kernel.code, path
        self.kernel = kernel
        self.warps = [Warp(path.start) for _ in range(warps)]
        self.last = self.warps[0]
        self.issue_free, self.pipe_free = 0.0, defaultdict(float)
        self.mix = Counter()  # {name of an instruction: how often the first warp issues it in the last line}

    def run(self, lines, limit=400_000):
        self.lines = lines
        for _ in range(limit):
            if all(len(w.lines) > lines for w in self.warps):
                break
            candidates = [(self.earliest(w), w is not self.last, k) for k, w in enumerate(self.warps) if not w.arrived]
            when, _, k = min(candidates, default=(NEVER, 0, 0))
            if when == NEVER:
                raise flow.FlowError(f"{self.kernel.name}: all warps wait at a barrier that is not complete")
            self.issue(self.warps[k], when)
        else:
            raise flow.FlowError(f"{self.kernel.name}: expected a line to end; an inner loop needs a rule")
        # A line starts when its last warp starts. This need not be the same warp each time, so two lines are averaged.
        first, last = (max(w.lines[n] for w in self.warps) for n in (lines - 2, lines))
        return Line((last - first) / 2, self.mix["HMMA"] or self.mix["FFMA"])

    def earliest(self, w):
        i = self.code[w.pc]
        when = max(w.ready, self.issue_free, *(w.clear[b] for b in SCOREBOARDS[i.wait]))
        if i.name in PIPE_OF:
            when = max(when, self.pipe_free[PIPE_OF[i.name][0]])
        if i.name == "UCGABAR_WAIT":
            when = max(when, self.completion("cluster_arrivals", w.cluster_waits) + CLUSTER_BARRIER)
        elif i.waits_for_mbarrier:
            if not w.phases and len(w.lines) > 1:
                raise flow.FlowError(f"{self.kernel.name}: a warp waits at an mbarrier, and arrives at none")
            when = max(when, self.completion("phases", len(w.phases) - 1))
        return when

    def completion(self, times, phase):
        if phase < 0:
            return 0
        return max(getattr(v, times)[phase] if len(getattr(v, times)) > phase else NEVER for v in self.warps)

    def issue(self, w, when):
        i = self.code[w.pc]
        if w.pc == self.path.start:
            w.lines.append(when)
            w.visits.clear()
        self.mix[i.name] += w is self.warps[0] and len(w.lines) == self.lines
        self.last, self.issue_free = w, when + 1
        w.ready = when + max(i.stall, 1)
        if i.name in PIPE_OF:
            pipe, cycles = PIPE_OF[i.name]
            self.pipe_free[pipe] = when + cycles
        if i.write != sass.NO_SCOREBOARD:
            w.clear[i.write] = max(w.clear[i.write], when + LATENCY.get(i.name, OTHER_LATENCY))
        if i.read != sass.NO_SCOREBOARD:
            w.clear[i.read] = max(w.clear[i.read], when + OPERANDS_READ)
        self.synchronise(w, i, when)
        w.pc = self.next_index(w, i)

    def synchronise(self, w, i, when):
        if i.name == "MEMBAR":
            w.ready += FENCE
        elif i.name == "UCGABAR_ARV":
            w.cluster_arrivals.append(when)
        elif i.name == "UCGABAR_WAIT":
            w.cluster_waits += 1
        elif i.name == "STAS":
            w.stored = max(w.stored, when + TRANSFER)
        elif i.name == "SYNCS" and not i.waits_for_mbarrier:
            w.phases.append(max(w.stored, when + BLOCK_BARRIER))
        elif i.name == "BAR":
            w.arrived = True
            if all(v.arrived for v in self.warps):
                for v in self.warps:
                    v.arrived, v.ready = False, max(v.ready, when + BLOCK_BARRIER)

    def next_index(self, w, i):
        if i.name == "BSYNC":
            w.ready += BRANCH / 2
        if not i.is_branch:
            return w.pc + 1
        w.visits[w.pc] += 1
        if not self.path.taken(w.pc, w.visits[w.pc] - 1):
            return w.pc + 1
        w.ready += BRANCH
        return self.kernel.target_of(w.pc)


def walk(kernel, *, warps=1, rules=(), lines=5):
    """Simulates `warps` warps of one scheduler for `lines` lines. `cycles` is the mean of the last two lines. The
    counts are of the last line."""
    return Walk(kernel, flow.Path(kernel, rules), warps).run(lines)
