"""Computes the modelled cycles in csrc/cuda/scan/costs.h, from which the planner chooses a kernel."""

from helpers import nvrtc
from helpers.kernels import every_kernel
from helpers.resources import resources_and_cubins
from helpers.root import ROOT
from kernel_costs import cost_table

from . import lines, sass


def modelled():
    resources = {arch: resources_and_cubins(arch)[0] for arch in cost_table.ARCHITECTURES}
    code = {}
    for made in nvrtc.compile_kernels(sorted((ROOT / "csrc" / "cuda" / "scan").glob("resident*.cu"))):
        code |= sass.kernels(made.cubin)
    rows = []
    for kernel in every_kernel():
        used = tuple(resources[arch][kernel.name].registers for arch in cost_table.ARCHITECTURES)
        costs = tuple(lines.cost(kernel, code[kernel.name], warps) for warps in cost_table.WARPS)
        rows.append(cost_table.Row(kernel.name, used, costs))
    return cost_table.Table(f"a model, NVRTC {sass.version()}", tuple(rows))
