"""Weights of other programs: LSTM2d computes with them what a loop computes that is written like that program, with its
order of gates, of corners and of operands."""

import re

import numpy as np
import pytest
import torch

import pixelrnn_ext as px
from pixelrnn_ext import importers
from pixelrnn_ext.directions import CORNERS

CHANNELS, HIDDEN, HEIGHT, WIDTH = 3, 4, 4, 6


def image(n=1):
    return torch.randn(n, CHANNELS, HEIGHT, WIDTH, dtype=torch.float64)


def matrix(*size):
    return 0.7 * torch.randn(size, dtype=torch.float64)


def layer(state, cell, directions, **options):
    made = px.LSTM2d(CHANNELS, HIDDEN, cell=cell, directions=directions, dtype=torch.float64, **options)
    made.load_state_dict(state)
    return made


def assert_maps(got, want, atol=1e-12):
    torch.testing.assert_close(got, torch.as_tensor(want), rtol=0, atol=atol)


def mirror(m, corner):
    """Turns a map (..., H, W) of a corner to the top left, and back."""
    return m.flip([axis for axis, letter in ((-2, "b"), (-1, "r")) if letter in corner])


def sigmoid(z):
    return 0.5 * (1 + np.tanh(0.5 * z))


def returnn_loop(x, V_h, V_v, W, b):
    """(hidden, H, W): x[y, x] W + y[y, x - 1] V_h + y[y - 1, x] V_v, in the order i, f, lambda, o, g."""
    y, s = np.zeros((2, HEIGHT + 1, WIDTH + 1, HIDDEN))  # row and column 0 are outside
    for r in range(1, HEIGHT + 1):
        for c in range(1, WIDTH + 1):
            z = x[:, r - 1, c - 1] @ W + y[r, c - 1] @ V_h + y[r - 1, c] @ V_v + b
            i, f, lam, o = sigmoid(z[: 4 * HIDDEN].reshape(4, HIDDEN))
            s[r, c] = f * (lam * s[r - 1, c] + (1 - lam) * s[r, c - 1]) + np.tanh(z[4 * HIDDEN :]) * i
            y[r, c] = np.tanh(s[r, c]) * o
    return y[1:, 1:].transpose(2, 0, 1)


@pytest.mark.parametrize("corner", CORNERS)
@pytest.mark.parametrize("bias", [False, True], ids=["no-bias", "bias"])
def test_returnn(bias, corner):
    V_h, V_v, W = matrix(HIDDEN, 5 * HIDDEN), matrix(HIDDEN, 5 * HIDDEN), matrix(CHANNELS, 5 * HIDDEN)
    b = matrix(5 * HIDDEN) if bias else None
    x = image()
    loop = returnn_loop(*(m.numpy() for m in (mirror(x[0], corner), V_h, V_v, W)), b.numpy() if bias else 0)
    state = importers.returnn(V_h, V_v, W, b, corner=corner)
    assert_maps(layer(state, "stable", (corner,), bias=bias)(x)[0], mirror(torch.tensor(loop), corner))


def rnn2d_loop(x, parameters, size, stable):
    """(4 * hidden, H, W) by the offsets of its flat array; outside an image's size output and state are zero."""
    block = 5 * HIDDEN
    output, state = np.zeros((2, 4, HEIGHT, WIDTH, HIDDEN))
    for z in range(4):
        start = z * (1 + CHANNELS + 2 * HIDDEN) * block
        bias, rest = parameters[start : start + block], parameters[start + block :]
        W = rest[: CHANNELS * block].reshape(CHANNELS, block)
        U = rest[CHANNELS * block :][: HIDDEN * block].reshape(HIDDEN, block)
        V = rest[(CHANNELS + HIDDEN) * block :][: HIDDEN * block].reshape(HIDDEN, block)
        for i in range(HEIGHT):
            for j in range(WIDTH):
                y, yp = (i, i - 1) if z in (0, 2) else (HEIGHT - i - 1, HEIGHT - i)
                k, kp = (j, j - 1) if z in (0, 1) else (WIDTH - j - 1, WIDTH - j)
                if y >= size[0] or k >= size[1]:
                    continue
                above, beside = 0 <= yp < HEIGHT, 0 <= kp < WIDTH
                q = bias + x[:, y, k] @ W
                q = q + (output[z, y, kp] @ U if beside else 0) + (output[z, yp, k] @ V if above else 0)
                c_y, c_x = state[z, yp, k] if above else 0, state[z, y, kp] if beside else 0
                gates, a = sigmoid(q[: 4 * HIDDEN].reshape(4, HIDDEN)), np.tanh(q[4 * HIDDEN :])
                if stable:
                    g_i, g_f, g_l, g_o = gates
                    state[z, y, k] = g_i * a + g_f * (g_l * c_y + (1 - g_l) * c_x)
                else:
                    g_i, g_y, g_x, g_o = gates
                    state[z, y, k] = g_i * a + 0.5 * g_y * c_y + 0.5 * g_x * c_x
                output[z, y, k] = g_o * np.tanh(state[z, y, k])
    return output.transpose(0, 3, 1, 2).reshape(4 * HIDDEN, HEIGHT, WIDTH)


@pytest.mark.parametrize("stable", [False, True], ids=["halved", "stable"])
def test_rnn2d_and_its_sizes(stable):
    parameters = matrix(4 * (1 + CHANNELS + 2 * HIDDEN) * 5 * HIDDEN)
    sizes = torch.tensor([(HEIGHT, WIDTH), (2, 5), (3, 1)])
    x = image(3)
    loops = [rnn2d_loop(m.numpy(), parameters.numpy(), size, stable) for m, size in zip(x, sizes.tolist())]
    state = importers.rnn2d(parameters.numpy(), HIDDEN, stable)
    made = layer(state, "stable" if stable else "halved", ("tl", "bl", "tr", "br"))
    assert_maps(made(x, sizes), np.stack(loops))


def test_pfisterer_whose_lambda_is_of_the_left():
    W, U, V = (torch.nn.Linear(n, 5 * HIDDEN, dtype=torch.float64) for n in (CHANNELS, HIDDEN, HIDDEN))
    x = image(2)
    outside = x.new_zeros(2, HIDDEN)
    s, c = {}, {}
    for j in range(HEIGHT):
        for k in range(WIDTH):
            left, above = (j, k - 1), (j - 1, k)
            z = W(x[:, :, j, k]) + U(s.get(left, outside)) + V(s.get(above, outside))
            i, f, o, lam = z[:, : 4 * HIDDEN].sigmoid().chunk(4, 1)
            old = lam * c.get(left, outside) + (1 - lam) * c.get(above, outside)
            c[j, k] = f * old + z[:, 4 * HIDDEN :].tanh() * i
            s[j, k] = c[j, k].tanh() * o
    loop = torch.stack([torch.stack([s[j, k] for k in range(WIDTH)], 2) for j in range(HEIGHT)], 2)
    state = importers.pfisterer(torch.nn.ModuleDict(dict(W=W, U=U, V=V)).state_dict())
    assert_maps(layer(state, "stable", 1)(x), loop)


def from_table(function):
    """Returns Tesseract's function: 4096 values at distances of 1/256, with lines between them, and 1 beyond."""
    table = function(np.arange(4096) / 256)

    def read(x):
        place = np.minimum(np.abs(x) * 256, 4094)
        index = place.astype(int)
        value = table[index] + (table[index + 1] - table[index]) * (place - index)
        value = np.where(np.abs(x) * 256 >= 4095, 1.0, value)
        return np.where(x < 0, 2 * function(0.0) - value, value)  # odd about 0, or about 1/2

    return read


def tesseract_loop(x, CI, GI, GF1, GO, GFS):
    """(hidden, H, W), row by row, with a buffer of the row above and the state of the pixel before."""
    tanh, logistic = from_table(np.tanh), from_table(sigmoid)
    states, outputs = np.zeros((2, WIDTH, HIDDEN))
    y = np.zeros((HIDDEN, HEIGHT, WIDTH))
    for r in range(HEIGHT):
        state, output = np.zeros((2, HIDDEN))
        for c in range(WIDTH):
            source = np.concatenate([x[:, r, c], output, outputs[c], [1.0]])
            forget, forget_above = logistic(GF1 @ source), logistic(GFS @ source)
            kept = forget * state
            if r > 0:
                kept = np.where(forget < forget_above, forget_above * states[c], kept)
            state = np.clip(kept + tanh(CI @ source) * logistic(GI @ source), -100, 100)
            output = tanh(state) * logistic(GO @ source)
            states[c], outputs[c] = state, output
            y[:, r, c] = output
    return y


def test_tesseract_and_its_tables():
    """Four layers in parallel: of the image, the mirrored one, the one turned by half, the one upside down."""
    corners = ("tl", "tr", "br", "bl")
    x, state, loops = image(), {}, []
    for corner in corners:
        matrices = [matrix(HIDDEN, CHANNELS + 2 * HIDDEN + 1) for _ in range(5)]
        loop = tesseract_loop(mirror(x[0], corner).numpy(), *(m.numpy() for m in matrices))
        loops.append(mirror(torch.tensor(loop), corner))
        state |= importers.tesseract(matrices, corner=corner)
    assert_maps(layer(state, "max", corners)(x)[0], torch.cat(loops), atol=1e-5)


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
