"""Computes on which inputs a layer's outputs should depend, and measures on which they do depend.

The result is a dependency map, {output: set of the inputs on which it depends}. Outputs and inputs are given as (row,
column, colour).
"""

import itertools

from pixelrnn_ext.causality import check


def identity(height, width, colours):
    return {p: {p} for p in itertools.product(range(height), range(width), range(colours))}


def convolved(x, mask_type, height, width):
    def reads(p, q):
        (r, c, a), (rr, cc, b) = p, q
        inside = abs(rr - r) <= height // 2 and abs(cc - c) <= width // 2
        earlier = rr < r or (rr == r and cc < c)
        return inside and (earlier or ((rr, cc) == (r, c) and (b < a or (mask_type == "B" and b == a))))

    return {p: set().union(*(x[q] for q in x if reads(p, q))) for p in x}


# {corner where a scan starts: (1 if the scan goes down, -1 if up; 1 if it goes right, -1 if left)}
SCAN_STEPS = {"tl": (1, 1), "tr": (1, -1), "bl": (-1, 1), "br": (-1, -1)}


def scanned(x, name, gate_bias=None):
    """Returns the dependency map of a scan's output, given that of its input.

    A Row LSTM's ``name`` is "row" and the kernel size. A diagonal scan's ``name`` is the corner where it starts.
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
    """Returns the dependency map of a layer's output, given that of its input.

    ``name`` is a key of :data:`scans.LAYERS`, or the corner where an LSTM2d of one direction starts.
    """
    if name != "bilstm":
        return scanned(x, {"diagonal": "tl", "diagonal-reverse": "tr"}.get(name, name), gate_bias)
    left, right = (scanned(x, corner, gate_bias) for corner in ("tl", "tr"))
    return {(r, c, a): left[r, c, a] | right.get((r - 1, c, a), set()) for r, c, a in left}


def measured(function, shape, colours, levels=None):
    """Measures the dependency map of ``function``, which takes feature maps of ``shape`` (channels, H, W).

    With ``levels``, the maps are images of this number of levels.
    """
    report = check(function, shape, layout="features", image_channels=colours, levels=levels, raises=False)
    return {
        (r, c, a): {(row, column, colour) for colour, row, column in report.seen_by((a, r, c)).nonzero().tolist()}
        for a, r, c in itertools.product(range(colours), *map(range, shape[1:]))
    }
