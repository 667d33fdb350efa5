"""What an output should depend on, searched cell by cell from the definitions, and what it does depend on.

A map is {(row, column, colour): the set of inputs that it depends on}. The functions below take maps to maps as layers do.
"""

import itertools

import torch
from oracle import colour


def image(height, width, colours):
    """The input itself."""
    return {p: {p} for p in itertools.product(range(height), range(width), range(colours))}


def added(*maps):
    return {p: set().union(*(m[p] for m in maps)) for p in maps[0]}


def convolved(x, mask_type, height, width):
    """A masked convolution."""

    def reads(p, q):
        (r, c, a), (rr, cc, b) = p, q
        inside = abs(rr - r) <= height // 2 and abs(cc - c) <= width // 2
        earlier = rr < r or (rr == r and cc < c)
        return inside and (earlier or ((rr, cc) == (r, c) and (b < a or (mask_type == "B" and b == a))))

    return {p: set().union(*(x[q] for q in x if reads(p, q))) for p in x}


def neighbours(name):
    """Displacements (rows, columns) of the state-to-state taps."""
    if name.startswith("row"):
        reach = int(name[3:]) // 2
        return [(-1, k) for k in range(-reach, reach + 1)]
    return [(-1, 0), (0, 1 if name == "diagonal-reverse" else -1)]


def scanned(x, name, gate_bias=None):
    """One scan with mask B; ``gate_bias``, a map of one colour, is not masked."""
    gates = convolved(x, "B", 1, int(name[3:]) if name.startswith("row") else 1)
    state = {}
    for r, c, a in sorted(x, key=lambda p: (p[0], -p[1] if name == "diagonal-reverse" else p[1], p[2])):
        before = [state.get((r + dr, c + dc, b), set()) for dr, dc in neighbours(name) for b in {p[2] for p in x}]
        state[r, c, a] = gates[r, c, a].union(*before, gate_bias[r, c, 0] if gate_bias else ())
    return state


def layer(x, name, gate_bias=None):
    """A layer of :data:`checks.LAYERS`."""
    if name != "bilstm":
        return scanned(x, name, gate_bias)
    left, right = (scanned(x, direction, gate_bias) for direction in ("diagonal", "diagonal-reverse"))
    return {(r, c, a): left[r, c, a] | right.get((r - 1, c, a), set()) for r, c, a in left}


def measured(function, x, colours, input_colours=None):
    """The map of ``function`` where its gradient is not zero for any of the images ``x`` (N, in, H, W), float64.

    One backward for each image: the batch holds a copy of it for every output, which are random sums over a colour's channels.
    """
    input_colours = input_colours or colours
    channels, height, width = function(x[:1]).shape[1:]
    outputs = list(itertools.product(range(height), range(width), range(colours)))
    cotangent = x.new_zeros(len(outputs), channels, height, width)
    for i, (r, c, a) in enumerate(outputs):
        members = [k for k in range(channels) if colour(k, channels, colours) == a]
        cotangent[i, members, r, c] = torch.randn(len(members), dtype=x.dtype)
    depends = torch.zeros(len(outputs), *x.shape[1:], dtype=torch.bool)
    for one in x:
        copies = one.expand(len(outputs), *one.shape).clone().requires_grad_()
        depends |= torch.autograd.grad(function(copies), copies, cotangent)[0] != 0
    return {
        p: {(r, c, colour(k, x.shape[1], input_colours)) for k, r, c in depends[i].nonzero().tolist()}
        for i, p in enumerate(outputs)
    }
