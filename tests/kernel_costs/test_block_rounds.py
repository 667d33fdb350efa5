"""Tests the modelled cycles of a round of the kernel that draws whole images (csrc/cuda/sampler/block_kernel.h).

In a round, each warp runs at most one step of the network.
"""

import pytest

from helpers import nvrtc
from helpers.root import ROOT
from kernel_costs import compiler, model, sass
from kernel_costs.flow import Rule

# Branches taken if eight lanes share each sum, and one pass computes all outputs of a step.
COMMON = [Rule("block sampler: lanes", 1), Rule("block sampler: more taps")]


@pytest.mark.emulated
@pytest.mark.xdist_group("the model's compiler")
@pytest.mark.parametrize(
    ("kernel", "rules", "most"),
    [
        # The modelled cell step has two taps (inputs). The modelled linear step has one tap, and two pointwise steps
        # are fused with it.
        ("rounds_of_cells", COMMON, 1000),
        ("rounds_of_linear_steps", [*COMMON, Rule("if (r.taps() > 1)")], 700),
    ],
    ids=["cell", "linear"],
)
def test_cycles_of_a_round(kernel, rules, most):
    if compiler.version() != compiler.PINNED:
        pytest.skip(f"the bounds are for NVRTC {compiler.PINNED}, this is {compiler.version()}")
    [compiled] = nvrtc.compile_kernels([ROOT / "tests/kernel_costs/block_rounds.cu"])
    cycles = model.walk(sass.kernels(compiled.cubin)[kernel], warps=1, rules=rules).cycles
    assert most / 2 < cycles <= most
