"""Models the table of csrc/cuda/costs.h, by which the planner chooses: `python tests/sass_model/table.py` writes it."""

import re
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if __name__ == "__main__":
    sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "benchmarks")]

from emulated.kernels import FAMILY, FORMATS, kernels  # noqa: E402
from gpu_day import cost_table  # noqa: E402
from sass_model import compiler, lines, sass  # noqa: E402

_REGISTERS = re.compile(r"Compiling entry function '(\w+)'.*?Used (\d+) registers", re.DOTALL)


def compile_all(folder, architectures):
    """({architecture: {kernel: registers}}, {kernel: its code on sm_90})."""

    def compiled(job):
        arch, source = job
        cubin = Path(folder, f"{source}.{arch}.cubin")
        log = compiler.compile(ROOT / "csrc" / "cuda" / f"{source}.cu", cubin, arch)
        return arch, {kernel: int(count) for kernel, count in _REGISTERS.findall(log)}

    sources = [f"resident{family}_{format}" for family in FAMILY.values() for format in FORMATS]
    registers = {arch: {} for arch in architectures}
    with ThreadPoolExecutor(2) as pool:
        for arch, found in pool.map(compiled, [(arch, source) for arch in architectures for source in sources]):
            registers[arch].update(found)
    code = {}
    for source in sources:
        code.update(sass.kernels(Path(folder, f"{source}.sm_90.cubin")))
    return registers, code


def modelled():
    """The Table of all kernels of variants.h."""
    with tempfile.TemporaryDirectory() as folder:
        registers, code = compile_all(folder, cost_table.ARCHITECTURES)
    rows = []
    for kernel in [*kernels(), *kernels(5)]:
        used = tuple(registers[arch][kernel.name] for arch in cost_table.ARCHITECTURES)
        costs = tuple(cost_table.Cost(*lines.cost(kernel, code[kernel.name], warps)) for warps in cost_table.WARPS)
        rows.append(cost_table.Row(kernel.name, used, costs))
    return cost_table.Table(f"a model, nvcc {compiler.version(compiler.nvcc())}", tuple(rows))


if __name__ == "__main__":
    cost_table.write(modelled())
    print(f"wrote {cost_table.PATH}")
