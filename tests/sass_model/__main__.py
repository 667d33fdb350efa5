"""Predicts the cycles that a kernel needs for one line (row or anti-diagonal) of a scan, from the kernel's sm_90
machine code. The prediction is a model, never a measurement: see README.md."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from emulator import toolchain
from helpers import nvrtc
from sass_model import flow, model, sass


def parse():
    parser = argparse.ArgumentParser(prog="sass_model", description=__doc__)
    add = parser.add_argument
    add("file", help="a .cu file, or a .cubin for sm_90 that was compiled with -lineinfo")
    add("kernel", help="its name, or a part of only one name; 'list' lists the names")
    add("--warps", type=int, default=1, help="warps on one of a multiprocessor's four schedulers")
    repeatable = dict(action="append", default=[])
    rule_help = "how branches go: taken, not, ttn, or a number of passes"
    add("--rule", **repeatable, metavar="PATTERN=WAY", help=rule_help)
    add("--latency", **repeatable, metavar="NAME=CYCLES", help="another latency, such as LDG=700")
    add("--top", type=int, default=8, help="number of waits to print")
    add("--branches", action="store_true", help="only list the branches of the loop, and how they go")
    return parser.parse_args()


def choose(kernels, name):
    names = [n for n in kernels if n == name] or [n for n in kernels if name in n]
    if len(names) != 1:
        raise SystemExit(f"expected one kernel like {name}, got {names or sorted(kernels)}")
    return kernels[names[0]]


def print_branches(kernel, rules):
    path = flow.Path(kernel, rules)
    for n, way in path.ways.items():
        word = {(True,): "taken", (False,): "not"}.get(tuple(way)) or "".join("nt"[taken] for taken in way)
        frames = " < ".join(frame[:80] for frame in sass.frames(kernel.code[n].positions)[:3])
        print(f"{kernel.code[n].address:05x} {word:6s} {path.undecided.get(n, ''):34s} {frames}")


def print_line(kernel, warps, line, top):
    def largest(counts):
        return ", ".join(f"{name} {count}" for name, count in sorted(counts.items(), key=lambda item: -item[1])[:16])

    print(f"{kernel.name}, {warps} warps a scheduler: {line.cycles:.0f} cycles a line by a model, not measured")
    print(f"instructions of a warp: {line.instructions}; a scheduler issues {line.instructions * warps}")
    print("busy cycles of a scheduler's pipes:", largest(line.pipes))
    print("instructions:", largest(line.mix))
    print("in the loop:", ", ".join(f"{fact} {count}" for fact, count in flow.facts(kernel).items()))
    print("waits of one warp:")
    for cycles, n, reason in line.waits[:top]:
        i = kernel.code[n]
        frame = (sass.frames(i.positions) or [""])[0]
        print(f"  {cycles:5.0f}  {reason:10s} {i.address:05x} {i.opcode:24s} {frame[:110]}")
    if line.undecided:
        print("branches that no rule decided:")
    for n, why in sorted(line.undecided.items()):
        i = kernel.code[n]
        print(f"  {i.address:05x} {why}; {' < '.join(frame[:70] for frame in sass.frames(i.positions)[:2])}")


def main():
    options = parse()
    cubin = Path(options.file)
    if cubin.suffix == ".cu":
        [(cubin, *_)] = nvrtc.compile_kernels([cubin])
    kernels = sass.kernels(cubin)
    if options.kernel == "list":
        print(*sorted(kernels), sep="\n")
        return
    kernel, rules = choose(kernels, options.kernel), [flow.Rule.parse(rule) for rule in options.rule]
    if options.branches:
        print_branches(kernel, rules)
        return
    latency = {name: float(cycles) for name, _, cycles in (item.partition("=") for item in options.latency)}
    line = model.walk(kernel, warps=options.warps, rules=rules, latency=latency)
    print_line(kernel, options.warps, line, options.top)


if __name__ == "__main__":
    try:
        main()
    except (toolchain.ToolchainError, sass.ToolError, flow.FlowError) as error:
        raise SystemExit(f"sass_model: {error}") from None
