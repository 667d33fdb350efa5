"""Tests the LSTM cells of csrc/cell.h and csrc/cell5.h against their definitions in pixelrnn_ext.cells."""

import itertools
import math

import pytest
import torch

from helpers.checks import randn64
from pixelrnn_ext.cells import CELLS, CLIP, update

# {variant: (cell, its formula in csrc/cell5.h or None, factor by which the cell multiplies the neighbours' c, whether
# it has peepholes)}
VARIANTS = {
    "pixelrnn": ("pixelrnn", None, None, False),
    "stable": ("stable", "stable", 1, False),
    "graves": ("graves", "forget", 1, False),
    "graves-peepholes": ("graves", "forget", 1, True),
    "halved": ("halved", "forget", 0.5, False),
    "halved-peepholes": ("halved", "forget", 0.5, True),
    "leaky": ("leaky", "leaky", 1, False),
    "max": ("max", "max", 1, False),
}
PEEPHOLES = [0.5, -1.5, 0.75, -0.25]
each_variant = pytest.mark.parametrize("variant", VARIANTS)
each_type = pytest.mark.parametrize("dtype", ["float32", "float64"])
# Pre-activations and neighbours' states that saturate gates, make forget gates equal, or clip the new state.
Z = list(itertools.product([-1.0, 30.0], [-40.0, 0.5, 2.0], [-0.5], [1.0, -30.0], [-40.0, 0.5, 3.0]))
STATES = [(0.0, 0.0), (1.5, -2.0), (-0.25, 0.75), (300.0, -500.0), (-400.0, 0.5)]


class Kernel:
    """A variant of the cell in C++ and in PyTorch. Both take the pre-activations of five gates."""

    def __init__(self, core, dtype, variant):
        self.cell, formula, scale, peepholes = VARIANTS[variant]
        self.functions = getattr(core, dtype)
        self.peepholes = PEEPHOLES if peepholes else None
        self.formula = formula and (getattr(core.Formula, formula), scale, self.peepholes)

    def update(self, z, c_left, c_up, top=None):
        peephole = None if self.peepholes is None else torch.tensor(PEEPHOLES, dtype=torch.float64).unsqueeze(1)
        return update(self.cell, z[:, : len(CELLS[self.cell].gates)], c_up, c_left, top, peephole)

    def forward(self, z, c_left, c_up, is_first=False):
        if self.formula:
            return self.functions.cell5(*self.formula, is_first, z, c_left, c_up)
        gates = self.functions.activate(z[:4])
        c = self.functions.next_c(gates, c_left)
        return gates, c, self.functions.hidden_state(gates, c)

    def backwards(self, gates, c, c_left, c_up, dh, dc_left, dc_up):
        if self.formula:
            arguments = gates, c, c_left, c_up, dh, dc_left, dc_up
            yield self.functions.cell5_backward(*self.formula, *arguments)
            if self.peepholes is None:
                yield self.functions.cell5_backward_by_slopes(*self.formula[:2], *arguments)
        else:
            for backward in (self.functions.cell_backward, self.functions.cell_backward_by_slopes):
                dz, d_left = backward(gates, c, c_left, dh, dc_left + dc_up)
                yield [*dz, 0], d_left, 0


def rows(dtype):
    """Returns [N, 10] test cases: five pre-activations, c_left, c_up, dh, dc_left and dc_up."""
    special = torch.tensor([[*z, *states] for z, states in itertools.product(Z, STATES)], dtype=torch.float64)
    special = torch.cat([special, randn64(len(special), 3)], 1)
    random = randn64(300, 10) * 2
    return torch.cat([special, random]).to(getattr(torch, dtype)).double()


@each_type
@each_variant
@pytest.mark.parametrize("is_first", [False, True], ids=["inside", "first-row"])
def test_the_cell_and_its_derivative_are_those_of_the_formula(core, dtype, variant, is_first):
    kernel, numbers = Kernel(core, dtype, variant), rows(dtype)
    z, c_left, c_up, dh, dc_left, dc_up = numbers.split([5, 1, 1, 1, 1, 1], 1)
    leaves = [t.requires_grad_() for t in (z, c_left, c_up)]
    h, c, gates = kernel.update(*leaves, torch.full_like(c_up, is_first, dtype=torch.bool))
    gradients = torch.autograd.grad([h, c], leaves, [dh, dc_left + dc_up], materialize_grads=True)
    got_states, got_gradients = [], []
    for *row, left, up, dh_of, dc_right, dc_below in numbers.tolist():
        got_gates, got_c, got_h = kernel.forward(row, left, up, is_first)
        got_states.append([*got_gates, got_c, got_h])
        all_gradients = kernel.backwards(got_gates, got_c, left, up, dh_of, dc_right, dc_below)
        got_gradients.append([[*dz, d_left, d_up] for dz, d_left, d_up in all_gradients])
    # A result may be a difference of larger numbers, so the bounds grow with the states and gradients.
    two_states = bool(kernel.formula)  # the paper's cell reads only c_left
    scale = torch.finfo(getattr(torch, dtype)).eps * (1 + c_left.abs() + (c_up.abs() if two_states else 0))
    errors = torch.tensor(got_states, dtype=torch.float64) - torch.cat([*gates, c, h], 1)
    assert (errors.abs() <= 32 * scale).all()
    errors = torch.tensor(got_gradients, dtype=torch.float64) - torch.cat(gradients, 1).unsqueeze(1)
    dc = dc_left.abs() + dc_up.abs() if two_states else (dc_left + dc_up).abs()
    bounds = 16 * scale * (dh.abs() + dc)
    assert (errors.abs() <= bounds.unsqueeze(1)).all()


@each_type
@pytest.mark.parametrize(
    ("f", "up", "is_first"),
    [(0.5, 0.5, False), (60.0, 70.0, False), (1.0, 0.0, False), (0.0, 9.0, True)],
    ids=["tie", "rounded-tie", "larger", "first-row"],
)
def test_the_larger_forget_gate_takes_left(core, dtype, f, up, is_first):
    """In the first row the cell "max" takes the left state. The backward function learns this from the gates."""
    kernel = Kernel(core, dtype, "max")
    gates, c, _ = kernel.forward([-60.0, f, 0.0, 0.0, up], 3.0, 7.0, is_first)
    assert gates[1] > 0 and gates[4] == 0 and c == pytest.approx(3 * gates[1])
    for dz, d_left, d_up in kernel.backwards(gates, c, 3.0, 7.0, 1.0, 1.0, 1.0):
        assert d_left > 0 and d_up == dz[4] == 0


@each_type
@pytest.mark.parametrize("c_left", [-1e30, -500.0, 500.0, math.inf])
def test_a_clipped_state_lets_no_gradient_through(core, dtype, c_left):
    kernel = Kernel(core, dtype, "max")
    gates, c, h = kernel.forward([0.0, 1.0, 0.5, 2.0, -1.0], c_left, 0.0)
    assert c == math.copysign(CLIP, c_left) and h == math.copysign(gates[3], c_left)
    for dz, d_left, d_up in kernel.backwards(gates, c, 1.0, 1.0, 3.0, 5.0, 7.0):
        assert dz[:3] == [0, 0, 0] and dz[4] == d_left == d_up == 0 and dz[3] != 0


@each_type
@each_variant
@pytest.mark.parametrize("which", [*range(5), "c_left", "c_up"], ids=str)
def test_nan_goes_where_that_of_the_formula_goes(core, dtype, variant, which):
    kernel, nan = Kernel(core, dtype, variant), math.nan
    z = [nan if n == which else 0.25 * n for n in range(5)]
    c_left, c_up = (nan if which == name else 0.5 for name in ("c_left", "c_up"))
    h, c, _ = kernel.update(*(torch.tensor(v, dtype=torch.float64) for v in ([z], [[c_left]], [[c_up]])))
    _, got_c, got_h = kernel.forward(z, c_left, c_up)
    assert (math.isnan(got_h), math.isnan(got_c)) == (h.isnan().item(), c.isnan().item())


def test_every_cell_is_here():
    assert {cell for cell, *_ in VARIANTS.values()} == set(CELLS)
