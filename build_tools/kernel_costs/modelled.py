"""Computes the modelled cycles in csrc/cuda/scan/costs.h, from which the planner chooses a kernel."""

from . import compiler, cost_table, lines, sass
from .kernel_list import every_kernel

SOURCES = sorted((compiler.ROOT / "csrc" / "cuda" / "scan").glob("resident*.cu"))


def table(cubins, resources):
    """Returns the table of all resident kernels.

    Args:
        cubins: the files of machine code of SOURCES, for sm_90, with line numbers.
        resources: {architecture: {name of a kernel: Resources}}, for cost_table.ARCHITECTURES.
    """
    code, rows = {}, []
    for cubin in cubins:
        code |= sass.kernels(cubin)
    for kernel in every_kernel():
        used = tuple(resources[arch][kernel.name].registers for arch in cost_table.ARCHITECTURES)
        costs = tuple(lines.cost(kernel, code[kernel.name], warps) for warps in cost_table.WARPS)
        rows.append(cost_table.Row(kernel.name, used, costs))
    return cost_table.Table(f"a model, NVRTC {compiler.version()}", tuple(rows))


def with_measurements(modelled, committed):
    if committed.source.startswith("a model"):
        return modelled
    measured = {row.kernel: row.costs for row in committed.rows}
    rows = (row._replace(costs=measured.get(row.kernel, row.costs)) for row in modelled.rows)
    return cost_table.Table(committed.source, tuple(rows))
