"""Finds the loop over the lines of a scan (rows or anti-diagonals) in machine code, and a warp's path through it."""

from dataclasses import dataclass

import networkx

from . import sass

BARRIERS = ("BAR", "UCGABAR_WAIT", "SYNCS")


class FlowError(RuntimeError):
    pass


def line_loop(kernel):
    """Returns the indices of the instructions in the loop over lines, and of its entry.

    The loop over lines is the largest loop with a barrier, or else the largest loop.
    """
    graph = networkx.DiGraph((n, m) for n in range(len(kernel.code)) for m in kernel.successors(n))
    loops = [part for part in networkx.strongly_connected_components(graph) if len(part) > 1]
    if not loops:
        raise FlowError(f"{kernel.name} has no loop")
    synchronised = [loop for loop in loops if any(kernel.code[n].name in BARRIERS for n in loop)]
    loop = max(synchronised or loops, key=len)
    entries = {m for n in range(len(kernel.code)) if n not in loop for m in kernel.successors(n) if m in loop}
    return loop, min(entries or loop)


@dataclass(frozen=True)
class Rule:
    """Decides whether a warp takes the branches whose source line ("file:line text") contains `pattern`.

    The rule begins at branch number `first`. It takes the branches, or makes `passes` passes of the innermost loop that
    contains `pattern`.
    """

    pattern: str
    passes: int | None = None
    first: int = 1

    def decision(self):
        return [True] * (self.passes - 1) + [False] if self.passes else [True]


class Path:
    """The path of a warp through a kernel's loop over lines.

    At a branch without a rule, the warp stays in the loop, jumps over code that contains a call, and runs other code.
    """

    def __init__(self, kernel, rules=()):
        self.kernel = kernel
        self.loop, self.start = line_loop(kernel)
        ruled = {}
        for rule in rules:
            branches = self.branches_of(rule)
            if not branches:
                raise FlowError(f"{kernel.name}: no branch of the loop comes from {rule.pattern!r}")
            for n in branches[rule.first - 1 :]:
                ruled.setdefault(n, rule.decision())
        self.ways = {n: ruled.get(n) or self.default(n) for n in self.conditional_branches()}

    def conditional_branches(self):
        return [n for n in sorted(self.loop) if self.kernel.code[n].is_branch and len(self.kernel.successors(n)) > 1]

    def branches_of(self, rule):
        if not rule.passes:
            return [n for n in self.conditional_branches() if self._comes_from(rule.pattern, [n])]
        # The last branch of the innermost loop that contains the pattern decides how often this loop runs.
        back = {n: self.kernel.target_of(n) for n in self.conditional_branches() if self.kernel.target_of(n) <= n}
        loops = {n: first for n, first in back.items() if self._comes_from(rule.pattern, range(first, n + 1))}
        return [n for n, first in loops.items() if not any(first <= loops[m] and m < n for m in loops)]

    def _comes_from(self, pattern, instructions):
        return any(pattern in frame for n in instructions for frame in sass.frames(self.kernel.code[n].positions))

    def taken(self, n, visit):
        way = self.ways.get(n, [True])
        return way[visit % len(way)]

    def default(self, n):
        loop, target = self.loop, self.kernel.target_of(n)
        if (target in loop) != (n + 1 in loop):
            return [target in loop]
        return [self.kernel.calls_between(n + 1, n + 7)]


def facts(kernel):
    loop, _ = line_loop(kernel)
    code = [kernel.code[n] for n in sorted(loop)]

    def count(*names):
        return sum(i.name in names for i in code)

    return {
        "fence of the whole GPU": sum(i.name == "MEMBAR" and not i.opcode.endswith(".CTA") for i in code),
        "invalidation of L1": sum(i.opcode.startswith("CCTL.IVALL") for i in code),
        "call": count("CALL"),
        # A divergent region begins at BSSY, and ends at BSSY's target.
        "slow path": sum(
            kernel.calls_between(n, kernel.target_of(n) or n) for n in loop if kernel.code[n].name == "BSSY"
        ),
        "integer division": min(count("I2F"), count("F2I")),
        "local memory": count("LDL", "STL"),
        "divergent region": count("BSSY"),
    }
