"""csrc/cell5.h with the CPU's sigmoid and tanh, against the formulas of pixelrnn_ext.cells and their gradients."""

import itertools
import math

import pytest
import torch

from pixelrnn_ext.cells import CELLS, CLIP, update

# name -> (cell, formula, scale, whether it has peepholes)
VARIANTS = {
    "stable": ("stable", "stable", 1, False),
    "graves": ("graves", "forget", 1, False),
    "graves-peepholes": ("graves", "forget", 1, True),
    "halved": ("halved", "forget", 0.5, False),
    "halved-peepholes": ("halved", "forget", 0.5, True),
    "leaky": ("leaky", "leaky", 1, False),
    "max": ("max", "max", 1, False),
}
PEEPHOLES = [0.5, -1.5, 0.75, -0.25]
of_every_cell = pytest.mark.parametrize("variant", VARIANTS)
of_either_type = pytest.mark.parametrize("dtype", ["float32", "float64"])
# Rows of z and of c_left, c_up: gates that are equal, the larger one on either side, shut or open; states that clip.
Z = list(itertools.product([-1.0, 30.0], [-40.0, 0.5, 2.0], [-0.5], [1.0, -30.0], [-40.0, 0.5, 3.0]))
STATES = [(0.0, 0.0), (1.5, -2.0), (-0.25, 0.75), (300.0, -500.0), (-400.0, 0.5)]


class Kernel:
    """The functions of a header for one variant, and how they differ from those in PyTorch."""

    def __init__(self, core, dtype, variant):
        self.cell, formula, scale, peepholes = VARIANTS[variant]
        self.functions = getattr(core, dtype)
        self.peepholes = PEEPHOLES if peepholes else None
        self.first = getattr(core.Formula, formula), scale, self.peepholes

    def forward(self, z, c_left, c_up, is_first=False):
        """Activated gates, c and h."""
        return self.functions.cell5(*self.first, is_first, z, c_left, c_up)

    def backward(self, *arguments):
        """The gradients of z, c_left and c_up."""
        return self.functions.cell5_backward(*self.first, *arguments)

    def backwards(self, *arguments):
        """Yields these gradients by each way to compute them."""
        yield self.backward(*arguments)
        if self.peepholes is None:
            yield self.functions.cell5_backward_by_slopes(*self.first[:2], *arguments)


def rows(dtype):
    """z (N, 5), c_left, c_up, dh, dc_left, dc_up (N, 1), as numbers that the type has."""
    special = torch.tensor([[*z, *states] for z, states in itertools.product(Z, STATES)], dtype=torch.float64)
    special = torch.cat([special, torch.randn(len(special), 3, dtype=torch.float64)], 1)
    some = torch.randn(300, 10, dtype=torch.float64) * 2
    return torch.cat([special, some]).to(getattr(torch, dtype)).double().split([5, 1, 1, 1, 1, 1], 1)


@of_either_type
@of_every_cell
@pytest.mark.parametrize("is_first", [False, True], ids=["inside", "first-row"])
def test_the_cell_and_its_derivative_are_those_of_the_formula(core, dtype, variant, is_first):
    kernel, (z, c_left, c_up, dh, dc_left, dc_up) = Kernel(core, dtype, variant), rows(dtype)
    leaves = [t.requires_grad_() for t in (z, c_left, c_up)]
    peephole = None if kernel.peepholes is None else torch.tensor(PEEPHOLES, dtype=torch.float64).unsqueeze(1)
    top = torch.full_like(c_up, is_first, dtype=torch.bool)
    h, c, activated = update(kernel.cell, z, c_up, c_left, top, peephole)
    gradients = torch.autograd.grad([h, c], leaves, [dh, dc_left + dc_up], allow_unused=True)
    expected = torch.cat([h, c, *activated, *gradients], 1).tolist()
    # The scale is that of a row's numbers: each result may be a difference of larger ones.
    eps = torch.finfo(getattr(torch, dtype)).eps
    bounds = 32 * eps * (1 + c_left.abs() + c_up.abs()) * (1 + dh.abs() + dc_left.abs() + dc_up.abs())
    for n, bound in enumerate(bounds[:, 0].tolist()):
        left, up, *incoming = (t[n].item() for t in (c_left, c_up, dh, dc_left, dc_up))
        gates, c, h = kernel.forward(z[n].tolist(), left, up, is_first)
        for dz, d_left, d_up in kernel.backwards(gates, c, left, up, *incoming):
            for got, want in zip((h, c, *gates, *dz, d_left, d_up), expected[n], strict=True):
                assert abs(got - want) <= bound, (n, z[n].tolist(), left, up)


@of_either_type
@pytest.mark.parametrize(
    ("f", "up", "is_first"),
    [
        pytest.param(0.5, 0.5, False, id="tie"),
        pytest.param(60.0, 70.0, False, id="rounded-tie"),
        pytest.param(1.0, 0.0, False, id="larger"),
        pytest.param(0.0, 9.0, True, id="first-row"),
    ],
)
def test_the_larger_forget_gate_takes_left(core, dtype, f, up, is_first):
    """The derivative does so too, although it is not told the row."""
    kernel = Kernel(core, dtype, "max")
    gates, c, _ = kernel.forward([-60.0, f, 0.0, 0.0, up], 3.0, 7.0, is_first)
    assert gates[1] > 0 and gates[4] == 0 and c == pytest.approx(3 * gates[1])
    for dz, d_left, d_up in kernel.backwards(gates, c, 3.0, 7.0, 1.0, 1.0, 1.0):
        assert d_left > 0 and d_up == dz[4] == 0


@of_either_type
def test_the_larger_forget_gate_takes_up(core, dtype):
    kernel = Kernel(core, dtype, "max")
    gates, c, _ = kernel.forward([-60.0, 0.0, 0.0, 0.0, 1e-3], 3.0, 7.0)
    assert gates[1] == 0 and c == pytest.approx(7 * gates[4])
    for dz, d_left, d_up in kernel.backwards(gates, c, 3.0, 7.0, 1.0, 1.0, 1.0):
        assert d_up > 0 and d_left == dz[1] == 0


@of_either_type
@pytest.mark.parametrize("c_left", [-1e30, -500.0, 500.0, math.inf])
def test_a_clipped_state_lets_no_gradient_through(core, dtype, c_left):
    kernel = Kernel(core, dtype, "max")
    gates, c, h = kernel.forward([0.0, 1.0, 0.5, 2.0, -1.0], c_left, 0.0)
    assert c == math.copysign(CLIP, c_left) and h == math.copysign(gates[3], c_left)
    for dz, d_left, d_up in kernel.backwards(gates, c, 1.0, 1.0, 3.0, 5.0, 7.0):
        assert dz[:3] == [0, 0, 0] and dz[4] == d_left == d_up == 0 and dz[3] != 0


@of_either_type
@of_every_cell
@pytest.mark.parametrize("which", [*range(5), "c_left", "c_up"], ids=str)
def test_nan_goes_where_that_of_the_formula_goes(core, dtype, variant, which):
    kernel, nan = Kernel(core, dtype, variant), math.nan
    z = [nan if n == which else 0.25 * n for n in range(5)]
    c_left, c_up = (nan if which == name else 0.5 for name in ("c_left", "c_up"))
    peephole = None if kernel.peepholes is None else torch.tensor(PEEPHOLES, dtype=torch.float64).unsqueeze(1)
    tensors = (torch.tensor(v, dtype=torch.float64) for v in ([z], [[c_up]], [[c_left]]))
    h, c, _ = update(kernel.cell, *tensors, None, peephole)
    _, got_c, got_h = kernel.forward(z, c_left, c_up)
    assert (math.isnan(got_h), math.isnan(got_c)) == (h.isnan().item(), c.isnan().item())


def test_every_cell_of_two_carries_is_here():
    assert {cell for cell, *_ in VARIANTS.values()} == {name for name, cell in CELLS.items() if cell.carries_up}
