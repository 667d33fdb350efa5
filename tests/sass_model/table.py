"""Models the table of csrc/cuda/costs.h, by which the planner chooses: `python tests/sass_model/table.py` writes it."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if __name__ == "__main__":
    sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "benchmarks")]

from gpu_day import cost_table  # noqa: E402
from helpers import nvrtc  # noqa: E402
from helpers.kernels import kernels  # noqa: E402
from helpers.resources import compiled  # noqa: E402
from sass_model import compiler, lines, sass  # noqa: E402


def modelled():
    """The Table of all kernels of variants.h."""
    resources = {arch: compiled(arch)[0] for arch in cost_table.ARCHITECTURES}
    code = {}
    for made in nvrtc.compiled(sorted((ROOT / "csrc" / "cuda").glob("resident*.cu"))):
        code |= sass.kernels(made.cubin)
    rows = []
    for kernel in [*kernels(), *kernels(5)]:
        used = tuple(resources[arch][kernel.name].registers for arch in cost_table.ARCHITECTURES)
        costs = tuple(cost_table.Cost(*lines.cost(kernel, code[kernel.name], warps)) for warps in cost_table.WARPS)
        rows.append(cost_table.Row(kernel.name, used, costs))
    return cost_table.Table(f"a model, NVRTC {compiler.version()}", tuple(rows))


if __name__ == "__main__":
    cost_table.write(modelled())
    print(f"wrote {cost_table.PATH}")
