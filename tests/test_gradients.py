"""First and second derivatives in float64, over subsets of the tensors that need one."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

import pixelrnn_ext as px
from checks import subsets

OPS = torch.ops.pixelrnn_ext


def problem(function):
    """The function of named float64 tensors, on a map of 2 x 3 pixels with 2 colours."""
    n, channels, hidden, height, width = 1, 2, 2, 2, 3
    row = function == "row_lstm"
    sizes = {
        "input": (n, channels, height, width),
        "weight_ih": (4 * hidden, channels, 1, 3 if row else 1),
        "weight_hh": (4 * hidden, hidden, 3 if row else 2),
        "bias": (4 * hidden,),
        "h0": (hidden,),
        "c0": (hidden,),
    }
    if function == "diagonal_bilstm":
        sizes |= {name + "_reverse": size for name, size in sizes.items() if name != "input"}
    directions = 2 if function == "diagonal_bilstm" else 1
    sizes["gate_bias"] = (n, 4 * hidden * directions, height, width)
    return {name: torch.randn(size, dtype=torch.float64) * 0.7 for name, size in sizes.items()}


def check(function, needed, backend, checker, **options):
    tensors = problem(function)
    options |= dict(mask_type="B", image_channels=2, backend=backend)

    def run(*values):
        return getattr(px.functional, function)(**(tensors | dict(zip(needed, values))), **options)

    assert checker(run, [tensors[name].clone().requires_grad_() for name in needed])


FUNCTIONS = [
    pytest.param("row_lstm", {}, id="row"),
    pytest.param("diagonal_lstm", {}, id="diagonal"),
    pytest.param("diagonal_lstm", {"reverse": True}, id="diagonal-reverse"),
    pytest.param("diagonal_bilstm", {}, id="bilstm"),
]


@pytest.mark.parametrize("backend", ["native", "reference"])
@pytest.mark.parametrize(("function", "options"), FUNCTIONS)
def test_gradcheck(function, options, backend):
    check(function, list(problem(function)), backend, gradcheck, **options)


def along_random_directions(*args):
    return gradcheck(*args, fast_mode=True) and gradgradcheck(*args, fast_mode=True)


@pytest.mark.parametrize("checker", [along_random_directions, pytest.param(gradgradcheck, marks=pytest.mark.sweep)])
@pytest.mark.parametrize("backend", ["native", pytest.param("reference", marks=pytest.mark.sweep)])
@pytest.mark.parametrize(("function", "options"), FUNCTIONS)
def test_gradgradcheck(function, options, backend, checker):
    needed = [name for name in problem(function) if not name.endswith("_reverse")]
    check(function, needed, backend, checker, **options)


@pytest.mark.parametrize("needed", subsets(["input", "weight_hh", "h0", "c0", "gate_bias"]), ids="+".join)
@pytest.mark.parametrize("function", ["row_lstm", "diagonal_lstm"])
def test_gradgradcheck_of_every_subset(function, needed):
    check(function, needed, "native", along_random_directions)


@pytest.mark.parametrize("diagonal", [False, True], ids=["row", "diagonal"])
def test_gradients_of_every_output_of_the_operator(diagonal):
    """c and the gates have gradients too, which a second derivative needs."""
    tensors = [(1, 1, 2, 3, 2, 4), (1, 2 if diagonal else 3, 2, 4, 2), (1, 2), (1, 2)]
    tensors = [torch.randn(size, dtype=torch.float64, requires_grad=True) for size in tensors]
    assert gradcheck(lambda *t: OPS.line_scan(*t, None, None, None, 1, diagonal, False), tensors)


def test_third_derivative():
    layer = px.DiagonalBiLSTM(2, 2, dtype=torch.float64)
    x = torch.randn(1, 2, 2, 2, dtype=torch.float64, requires_grad=True)
    results = []
    for layer.backend in ("native", "reference"):
        value = layer(x).square().sum()
        for _ in range(3):
            (gradient,) = torch.autograd.grad(value, x, create_graph=True)
            value = gradient.square().sum()
        results.append(gradient)
    torch.testing.assert_close(*results, rtol=1e-10, atol=1e-12)


def test_gradient_penalty_reaches_the_parameters():
    layer = px.RowLSTM(2, 3, dtype=torch.float64)
    x = torch.randn(1, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    results = []
    for layer.backend in ("native", "reference"):
        (gradient,) = torch.autograd.grad(layer(x).sum(), x, create_graph=True)
        results.append(torch.autograd.grad(gradient.square().sum(), list(layer.parameters())))
    for got, expected in zip(*results):
        torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-12)
        assert got.abs().max() > 0
