"""Tests importers.py, which converts the weights of other programs to weights of LSTM2d.

Each test compares an LSTM2d with a loop over pixels that is written like the other program.
"""

import itertools
import re
from functools import partial

import numpy as np
import pytest
import torch

import pixelrnn_ext as px
from helpers.checks import randn64
from helpers.oracle import mirror
from pixelrnn_ext import importers
from pixelrnn_ext.directions import CORNERS

CHANNELS, HIDDEN, HEIGHT, WIDTH = 3, 4, 4, 6
OUTSIDE = torch.zeros(2, HIDDEN, dtype=torch.float64)  # (state, output) outside of the image


def image(n=1):
    return randn64(n, CHANNELS, HEIGHT, WIDTH)


def matrix(*size):
    return 0.7 * randn64(size)


def loop(step, x):
    """Returns the outputs (hidden, H, W) of a program that goes over an image (channels, H, W) row by row.

    ``step`` gets a pixel, and (state, output) of its left and of its upper neighbour. It returns (state, output).
    """
    _, height, width = x.shape
    found = {}
    for r, c in itertools.product(range(height), range(width)):
        found[r, c] = step(x[:, r, c], found.get((r, c - 1), OUTSIDE), found.get((r - 1, c), OUTSIDE))
    return torch.stack([output for _, output in found.values()], 1).unflatten(1, (height, width))


def assert_imported(state, cell, directions, x, want, *sizes, atol=1e-12, **options):
    layer = px.LSTM2d(CHANNELS, HIDDEN, cell=cell, directions=directions, dtype=torch.float64, **options)
    layer.load_state_dict(state)
    torch.testing.assert_close(layer(x, *sizes), want, rtol=0, atol=atol)


def returnn_step(V_h, V_v, W, b, pixel, left, above):
    """Computes a pixel as RETURNN does, with gates in the order i, f, lambda, o, g."""
    (s_left, y_left), (s_above, y_above) = left, above
    z = pixel @ W + y_left @ V_h + y_above @ V_v + (0 if b is None else b)
    i, f, lam, o = z[: 4 * HIDDEN].sigmoid().chunk(4)
    s = f * (lam * s_above + (1 - lam) * s_left) + z[4 * HIDDEN :].tanh() * i
    return s, s.tanh() * o


@pytest.mark.parametrize("corner", CORNERS)
@pytest.mark.parametrize("bias", [False, True], ids=["no-bias", "bias"])
def test_returnn(bias, corner):
    V_h, V_v, W = (matrix(n, 5 * HIDDEN) for n in (HIDDEN, HIDDEN, CHANNELS))
    b = matrix(5 * HIDDEN) if bias else None
    x = image()
    want = mirror(loop(partial(returnn_step, V_h, V_v, W, b), mirror(x[0], corner)), corner)
    assert_imported(importers.returnn(V_h, V_v, W, b, corner=corner), "stable", (corner,), x, want[None], bias=bias)


def rnn2d_step(stable, parameters, pixel, left, above):
    """Computes a pixel as rnn2d does. Its gates are i, f_y, f_x, o, g, or in the stable cell i, f, lambda, o, g."""
    (c_x, y_x), (c_y, y_y) = left, above
    bias, W, U, V = parameters.view(-1, 5 * HIDDEN).split([1, CHANNELS, HIDDEN, HIDDEN])
    q = bias[0] + pixel @ W + y_x @ U + y_y @ V
    g_i, second, third, g_o = q[: 4 * HIDDEN].sigmoid().chunk(4)
    carried = second * (third * c_y + (1 - third) * c_x) if stable else 0.5 * second * c_y + 0.5 * third * c_x
    c = g_i * q[4 * HIDDEN :].tanh() + carried
    return c, g_o * c.tanh()


@pytest.mark.parametrize("stable", [False, True], ids=["halved", "stable"])
def test_rnn2d_and_its_sizes(stable):
    parameters = matrix(4 * (1 + CHANNELS + 2 * HIDDEN) * 5 * HIDDEN)
    sizes = torch.tensor([(HEIGHT, WIDTH), (2, 5), (3, 1)])
    corners = "tl", "bl", "tr", "br"
    x = image(3)
    want = x.new_zeros(3, 4, HIDDEN, HEIGHT, WIDTH)
    for n, (height, width) in enumerate(sizes.tolist()):
        for k, corner in enumerate(corners):
            step = partial(rnn2d_step, stable, parameters.chunk(4)[k])
            alone = mirror(x[n, :, :height, :width], corner)
            want[n, k, :, :height, :width] = mirror(loop(step, alone), corner)
    state = importers.rnn2d(parameters.numpy(), HIDDEN, stable)
    assert_imported(state, "stable" if stable else "halved", corners, x, want.flatten(1, 2), sizes)


def pfisterer_step(linears, pixel, left, above):
    """Computes a pixel as Pfisterer's program does, with gates in the order i, f, o, lambda, g."""
    (c_left, s_left), (c_above, s_above) = left, above
    z = linears["W"](pixel) + linears["U"](s_left) + linears["V"](s_above)
    i, f, o, lam = z[: 4 * HIDDEN].sigmoid().chunk(4)
    c = f * (lam * c_left + (1 - lam) * c_above) + z[4 * HIDDEN :].tanh() * i
    return c, c.tanh() * o


def test_pfisterer_whose_lambda_is_of_the_left():
    inputs = dict(W=CHANNELS, U=HIDDEN, V=HIDDEN)
    linears = {name: torch.nn.Linear(n, 5 * HIDDEN, dtype=torch.float64) for name, n in inputs.items()}
    x = image()
    want = loop(partial(pfisterer_step, linears), x[0])[None]
    assert_imported(importers.pfisterer(torch.nn.ModuleDict(linears).state_dict()), "stable", 1, x, want)


def from_table(function):
    """Returns tanh or sigmoid as Tesseract computes it, by interpolation between 4096 values."""
    table = function(torch.arange(4096, dtype=torch.float64) / 256)

    def read(x):
        place = (x.abs() * 256).clamp(max=4094)
        index = place.long()
        value = table[index] + (table[index + 1] - table[index]) * (place - index)
        value = torch.where(x.abs() * 256 >= 4095, 1.0, value)
        return torch.where(x < 0, 2 * table[0] - value, value)  # tanh is symmetric about (0, 0), sigmoid about (0, 1/2)

    return read


def tesseract_step(matrices, pixel, left, above):
    tanh, logistic = from_table(torch.tanh), from_table(torch.sigmoid)
    (state_left, output_left), (state_above, output_above) = left, above
    CI, GI, GF1, GO, GFS = (m @ torch.cat([pixel, output_left, output_above, pixel.new_ones(1)]) for m in matrices)
    forget, forget_above = logistic(GF1), logistic(GFS)
    carried = forget * state_left
    if above is not OUTSIDE:
        carried = torch.where(forget < forget_above, forget_above * state_above, carried)
    state = (carried + tanh(CI) * logistic(GI)).clamp(-100, 100)
    return state, tanh(state) * logistic(GO)


def test_tesseract_and_its_tables():
    """The four layers read the image as it is, mirrored, rotated by 180 degrees, and upside down."""
    corners = ("tl", "tr", "br", "bl")
    x, state, want = image(), {}, []
    for corner in corners:
        matrices = [matrix(HIDDEN, CHANNELS + 2 * HIDDEN + 1) for _ in range(5)]
        want.append(mirror(loop(partial(tesseract_step, matrices), mirror(x[0], corner)), corner))
        state |= importers.tesseract(matrices, corner=corner)
    assert_imported(state, "max", corners, x, torch.cat(want)[None], atol=1e-5)


def test_what_is_imported_are_copies():
    matrices = [matrix(HIDDEN, CHANNELS + 2 * HIDDEN + 1).requires_grad_() for _ in range(5)]
    before = [m.detach().clone() for m in matrices]
    for tensor in importers.tesseract(matrices).values():
        assert not tensor.requires_grad
        tensor.zero_()
    assert all(map(torch.equal, matrices, before))


GOOD = torch.zeros(4, 20)
NAMES = {f"{name}.{kind}": torch.zeros(20, *size) for kind, size in (("weight", (4,)), ("bias", ())) for name in "WUV"}
NO_TENSOR = "to be a Tensor or a numpy array, got"
NO_FLOAT = "of a floating-point dtype (float32, float64, float16, bfloat16), got"


@pytest.mark.parametrize(
    ("importer", "arguments", "error", "message"),
    [
        ("returnn", (GOOD, GOOD.t(), GOOD), ValueError, "V_v of shape (4, 20), got (20, 4)"),
        ("returnn", (GOOD[:, :16], GOOD, GOOD), ValueError, "V_h of shape (4, 20), got (4, 16)"),
        ("returnn", (GOOD, GOOD, GOOD[:, :5]), ValueError, "W of shape (4, 20), got (4, 5)"),
        ("returnn", (GOOD, GOOD, GOOD, GOOD), ValueError, "b of shape (20,), got (4, 20)"),
        ("returnn", (None, GOOD, GOOD), TypeError, f"V_h {NO_TENSOR} NoneType"),
        ("returnn", (GOOD, GOOD, (row for row in GOOD)), TypeError, f"W {NO_TENSOR} generator"),
        ("returnn", (GOOD, GOOD, GOOD, [0.0] * 20), TypeError, f"b {NO_TENSOR} list"),
        ("returnn", (GOOD, GOOD.to(torch.complex64), GOOD), TypeError, f"V_v {NO_FLOAT} torch.complex64"),
        ("returnn", (np.full((4, 20), "1"), GOOD, GOOD), TypeError, "V_h of numbers, got an array of <U1"),
        ("rnn2d", (torch.zeros(961), 4), ValueError, "parameters of shape (80 * (in_channels + 9),), got (961,)"),
        ("rnn2d", (torch.zeros(720), 4), ValueError, "parameters of shape (80 * (in_channels + 9),), got (720,)"),
        ("rnn2d", (None, 4), TypeError, f"parameters {NO_TENSOR} NoneType"),
        ("rnn2d", (GOOD, None), TypeError, "hidden_channels to be an int, got NoneType"),
        ("tesseract", ([GOOD] * 4,), ValueError, "5 matrices, CI, GI, GF1, GO, GFS, got 4"),
        (
            "tesseract",
            ([GOOD, GOOD, GOOD[:3], GOOD, GOOD],),
            ValueError,
            "GF1 of shape (4, in_channels + 9), got (3, 20)",
        ),
        ("tesseract", (None,), TypeError, "matrices to be a sequence, got NoneType"),
        ("tesseract", ((m for m in [GOOD] * 5),), TypeError, "matrices to be a sequence, got generator"),
        ("tesseract", ([GOOD, None, GOOD, GOOD, GOOD],), TypeError, f"GI {NO_TENSOR} NoneType"),
        ("tesseract", ([GOOD.to(torch.int8)] * 5,), TypeError, f"CI {NO_FLOAT} torch.int8"),
        ("pfisterer", ({"W.weight": GOOD},), ValueError, "got one without U.weight, V.weight, W.bias"),
        ("pfisterer", (NAMES | {"V.weight": GOOD},), ValueError, "V.weight of shape (20, 4), got (4, 20)"),
        ("pfisterer", (None,), TypeError, "state_dict to be a mapping of names to matrices, got NoneType"),
        ("pfisterer", (NAMES | {"V.bias": None},), TypeError, f"V.bias {NO_TENSOR} NoneType"),
    ],
)
def test_what_does_not_fit_is_refused(importer, arguments, error, message):
    with pytest.raises(error, match=f"expected .*{re.escape(message)}"):
        getattr(importers, importer)(*arguments)


def test_a_corner_that_there_is_not():
    with pytest.raises(ValueError, match=r"expected .*corners .* got \('top',\)"):
        importers.returnn(GOOD, GOOD, GOOD, corner="top")
