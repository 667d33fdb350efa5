"""LSTM2d pixel by pixel, from the equations and nothing else: loops in numpy that are slow and independent of
pixelrnn_ext.

A map is (C, H, W). Weights are w_ih (G * hidden, C), w_hh (G * hidden, hidden, 2) with the taps (up, left), bias
(G * hidden,), h0 and c0 (hidden,), peepholes (4, hidden) of i, f_left, f_up, o. Rows of a weight are blocks of
``hidden``, one for each gate, in the order of GATES.
"""

import numpy as np

GATES = {
    "pixelrnn": ("i", "f", "g", "o"),
    "stable": ("i", "f", "g", "o", "lambda"),
    "graves": ("i", "f_left", "g", "o", "f_up"),
    "halved": ("i", "f_left", "g", "o", "f_up"),
    "leaky": ("phi", "o_prev", "g", "o", "lambda"),
    "max": ("i", "f_left", "g", "o", "f_up"),
}
CORNERS = {"tl": (1, 1), "tr": (1, -1), "bl": (-1, 1), "br": (-1, -1)}  # sense of rows and of columns


def sigmoid(z):
    return 0.5 * (1 + np.tanh(0.5 * z))


def step(cell, z, c_up, c_left, up_inside, peepholes=None):
    """(activated gates, c, h) of a pixel from its pre-activations z (G, hidden) and its neighbours' c."""
    z = z.copy()
    if peepholes is not None:  # of the old states here, of the new one below
        z[0] += peepholes[0] * (c_up + c_left)
        z[1] += peepholes[1] * c_left
        z[4] += peepholes[2] * c_up
    a = sigmoid(z)
    a[2] = np.tanh(z[2])
    if cell == "pixelrnn":
        c = a[0] * a[2] + a[1] * c_left
    elif cell in ("graves", "halved"):
        c = a[0] * a[2] + (a[1] * c_left + a[4] * c_up) * (0.5 if cell == "halved" else 1)
    elif cell == "stable":
        c = a[0] * a[2] + a[1] * (a[4] * c_up + (1 - a[4]) * c_left)
    elif cell == "leaky":
        mix = a[4] * c_up + (1 - a[4]) * c_left
        c = a[0] * a[2] + (1 - a[0]) * mix
        return a, c, np.tanh(a[1] * mix + a[3] * c)
    elif cell == "max":  # above the image there is no c_up to choose
        left = (a[1] >= a[4]) | (not up_inside)
        c = np.clip(a[0] * a[2] + np.where(left, a[1] * c_left, a[4] * c_up), -100, 100)
    if peepholes is not None:
        a[3] = sigmoid(z[3] + peepholes[3] * c)
    return a, c, a[3] * np.tanh(c)


def scan(cell, x, w_ih, w_hh, bias, h0=None, c0=None, peepholes=None, corner="tl"):
    """h, c (hidden, H, W) and the activated gates (G, hidden, H, W) of one image and one direction."""
    rows, columns = CORNERS[corner]
    x = x[:, ::rows, ::columns]
    hidden, (height, width) = w_hh.shape[1], x.shape[1:]
    h0 = np.zeros(hidden) if h0 is None else h0
    c0 = np.zeros(hidden) if c0 is None else c0
    h, c = np.zeros((2, hidden, height, width))
    gates = np.zeros((len(GATES[cell]), hidden, height, width))
    for r in range(height):
        for k in range(width):
            h_up, c_up = (h[:, r - 1, k], c[:, r - 1, k]) if r else (h0, c0)
            h_left, c_left = (h[:, r, k - 1], c[:, r, k - 1]) if k else (h0, c0)
            z = w_ih @ x[:, r, k] + w_hh[:, :, 0] @ h_up + w_hh[:, :, 1] @ h_left + bias
            out = step(cell, z.reshape(-1, hidden), c_up, c_left, r > 0, peepholes)
            gates[:, :, r, k], c[:, r, k], h[:, r, k] = out
    return tuple(m[..., ::rows, ::columns] for m in (h, c, gates))


def lstm2d(cell, x, parameters, sizes=None, merge="concat"):
    """x (N, C, H, W); parameters: corner -> keyword arguments of scan; sizes (N, 2) -> (N, D * hidden, H, W)."""
    n, _, height, width = x.shape
    hidden = next(iter(parameters.values()))["w_hh"].shape[1]
    y = np.zeros((n, len(parameters), hidden, height, width))
    for b, (p, q) in enumerate([(height, width)] * n if sizes is None else sizes):
        for d, (corner, arguments) in enumerate(parameters.items()):
            y[b, d, :, :p, :q] = scan(cell, x[b, :, :p, :q], corner=corner, **arguments)[0]
    if merge == "concat":
        return y.reshape(n, -1, height, width)
    return {"sum": y.sum(1), "mean": y.mean(1), None: y}[merge]
