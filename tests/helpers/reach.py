"""Computes the inputs on which outputs should depend, and measures the inputs on which they depend.

A map is {(row, column, colour) of a value: set of the inputs (row, column, colour) on which the value depends}.
"""

import itertools

import torch

from helpers.oracle import colour


def identity(height, width, colours):
    """Returns the map in which each value depends on itself alone."""
    return {p: {p} for p in itertools.product(range(height), range(width), range(colours))}


def convolved(x, mask_type, height, width):
    """Returns the map of the output of a masked convolution whose input has the map x."""

    def reads(p, q):
        (r, c, a), (rr, cc, b) = p, q
        inside = abs(rr - r) <= height // 2 and abs(cc - c) <= width // 2
        earlier = rr < r or (rr == r and cc < c)
        return inside and (earlier or ((rr, cc) == (r, c) and (b < a or (mask_type == "B" and b == a))))

    return {p: set().union(*(x[q] for q in x if reads(p, q))) for p in x}


SCAN_STEPS = {"tl": (1, 1), "tr": (1, -1), "bl": (-1, 1), "br": (-1, -1)}  # step of a scan along (rows, columns)


def scanned(x, name, gate_bias=None):
    """Returns the map of the output of a layer with mask B: a Row LSTM, or a scan from a corner.

    ``gate_bias`` is the map of a gate bias of one colour, which the gates of all colours read.
    """
    kernel = int(name[3:]) if name.startswith("row") else 1
    down, right = SCAN_STEPS.get(name, (1, 1))
    row_taps = [(1, k) for k in range(-(kernel // 2), kernel // 2 + 1)]
    taps = [(down, 0), (0, right)] if name in SCAN_STEPS else row_taps
    gates, state = convolved(x, "B", 1, kernel), {}
    for r, c, a in sorted(x, key=lambda p: (down * p[0], right * p[1], p[2])):
        before = [state.get((r - up, c - left, b), set()) for up, left in taps for b in {p[2] for p in x}]
        state[r, c, a] = gates[r, c, a].union(*before, gate_bias[r, c, 0] if gate_bias else ())
    return state


def layer(x, name, gate_bias=None):
    """Returns the map of the output of a layer of :data:`scans.LAYERS`, or of an LSTM2d from the corner ``name``."""
    if name != "bilstm":
        return scanned(x, {"diagonal": "tl", "diagonal-reverse": "tr"}.get(name, name), gate_bias)
    left, right = (scanned(x, corner, gate_bias) for corner in ("tl", "tr"))
    return {(r, c, a): left[r, c, a] | right.get((r - 1, c, a), set()) for r, c, a in left}


def measured(function, x, colours, input_colours=None):
    """Measures the map of the output of ``function``: inputs whose gradient at ``x`` (1, in, H, W), float64, is not 0.

    The batch has a copy of the image for each output, which is the sum of a colour's channels with random factors.
    """
    input_colours = input_colours or colours
    channels, height, width = function(x).shape[1:]
    outputs = list(itertools.product(range(height), range(width), range(colours)))
    cotangent = x.new_zeros(len(outputs), channels, height, width)
    for i, (r, c, a) in enumerate(outputs):
        members = [k for k in range(channels) if colour(k, channels, colours) == a]
        cotangent[i, members, r, c] = torch.randn(len(members), dtype=x.dtype)
    copies = x.repeat(len(outputs), 1, 1, 1).requires_grad_()
    (gradient,) = torch.autograd.grad(function(copies), copies, cotangent)
    return {
        p: {(r, c, colour(k, x.shape[1], input_colours)) for k, r, c in gradient[i].nonzero().tolist()}
        for i, p in enumerate(outputs)
    }
