"""Computes recurrent layers pixel by pixel, from the equations alone. Tests compare the package's layers with it.

A weight has a block of ``hidden`` rows for each gate, in the order of GATES.
"""

import itertools

import torch

GATES = {
    "pixelrnn": ("i", "f", "g", "o"),
    "stable": ("i", "f", "g", "o", "lambda"),
    "graves": ("i", "f_left", "g", "o", "f_up"),
    "halved": ("i", "f_left", "g", "o", "f_up"),
    "leaky": ("phi", "o_prev", "g", "o", "lambda"),
    "max": ("i", "f_left", "g", "o", "f_up"),
}
# {corner where a scan starts: (axes to flip so that the scan starts at the top left, suffix of parameter names)}
CORNERS = {"tl": ((), ""), "tr": ((-1,), "_reverse"), "bl": ((-2,), "_up"), "br": ((-2, -1), "_up_reverse")}


def mirror(m, corner):
    """Flips a feature map (..., H, W) so that ``corner`` moves to the top left. A second call flips it back."""
    return m.flip(CORNERS[corner][0])


def colour(channel, channels, image_channels):
    groups = torch.tensor_split(torch.arange(channels), image_channels)
    return next(g for g, members in enumerate(groups) if channel in members)


def masked(weight, mask_type, image_channels, gates=1):
    """Zeroes the masked elements of a convolution's weight, of shape (gates * units, in channels, height, width)."""
    if mask_type is None:
        return weight
    outputs, channels, height, width = weight.shape
    alive = torch.zeros_like(weight)
    alive[:, :, : height // 2] = 1
    alive[:, :, height // 2, : width // 2] = 1
    for out, inp in itertools.product(range(outputs), range(channels)):
        unit = colour(out % (outputs // gates), outputs // gates, image_channels)
        source = colour(inp, channels, image_channels)
        alive[out, inp, height // 2, width // 2] = source < unit or (mask_type == "B" and source == unit)
    return weight * alive


def update(cell, z, c_up, c_left, is_first_row, peephole):
    """Returns h and c of one pixel in N images, (N, hidden), from the pre-activations ``z``, (N, gates, hidden)."""
    i, f, g, o, *fifth = z.unbind(1)
    p_i, p_left, p_up, p_o = z.new_zeros(4, 1) if peephole is None else peephole
    i, f, g = (i + p_i * (c_up + c_left)).sigmoid(), (f + p_left * c_left).sigmoid(), g.tanh()
    if cell == "pixelrnn":
        c = i * g + f * c_left
    else:
        fifth = (fifth[0] + p_up * c_up).sigmoid()
        mix = fifth * c_up + (1 - fifth) * c_left
    if cell == "stable":
        c = i * g + f * mix
    elif cell == "graves":
        c = i * g + f * c_left + fifth * c_up
    elif cell == "halved":
        c = i * g + 0.5 * (f * c_left + fifth * c_up)
    elif cell == "leaky":
        c = i * g + (1 - i) * mix
        return (f * mix + o.sigmoid() * c).tanh(), c
    elif cell == "max":
        left = (f >= fifth) | is_first_row
        c = (i * g + torch.where(left, f * c_left, fifth * c_up)).clamp(-100, 100)
    return (o + p_o * c).sigmoid() * c.tanh(), c


def scan(x, gate_bias, weight_ih, weight_hh, bias, h0, c0, peephole, *, cell, is_row):
    """Returns the hidden states (N, hidden, H, W) of a scan from the top left corner."""
    n, _, height, width = x.shape
    hidden, taps = weight_hh.shape[1:]
    kernel = weight_ih.shape[3]
    # Each neighbour whose hidden state a pixel reads, as (rows up, columns to the left).
    neighbours = [(1, taps // 2 - k) for k in range(taps)] if is_row else [(1, 0), (0, 1)]
    zeros = x.new_zeros(n, hidden)
    outside_h, outside_c = (zeros if state is None else zeros + state for state in (h0, c0))
    h, c = {}, {}
    for r in range(height):
        for col in range(width):
            z = x.new_zeros(n, weight_hh.shape[0])
            for k in range(kernel):
                source = col + k - kernel // 2
                if 0 <= source < width:
                    z = z + x[:, :, r, source] @ weight_ih[:, :, 0, k].t()
            for k, (up, left) in enumerate(neighbours):
                z = z + h.get((r - up, col - left), outside_h) @ weight_hh[:, :, k].t()
            z = z + (0 if bias is None else bias) + (0 if gate_bias is None else gate_bias[:, :, r, col])
            c_up = c.get((r - 1, col), outside_c)
            c_left = c_up if is_row else c.get((r, col - 1), outside_c)
            h[r, col], c[r, col] = update(cell, z.unflatten(1, (-1, hidden)), c_up, c_left, r == 0, peephole)
    return torch.stack([torch.stack([h[r, col] for col in range(width)], 2) for r in range(height)], 2)


def layer(module, x, gate_bias=None, sizes=None):
    if sizes is not None:
        y = []
        for n, (height, width) in enumerate(sizes.tolist()):
            one = layer(module, *(None if m is None else m[n : n + 1, :, :height, :width] for m in (x, gate_bias)))
            y.append(torch.nn.functional.pad(one, (0, x.shape[3] - width, 0, x.shape[2] - height)))
        return torch.cat(y)
    name, parameters = type(module).__name__, dict(module.named_parameters())
    cell, merge, corners = "pixelrnn", "concat", ["tr" if getattr(module, "reverse", False) else "tl"]
    if name == "LSTM2d":
        cell, merge, corners = module.cell, module.merge, module.directions
    elif name == "DiagonalBiLSTM":
        merge, corners = "shift", ["tl", "tr"]
    maps = []
    for k, corner in enumerate(corners):
        suffix = "" if name == "DiagonalLSTM" else CORNERS[corner][1]
        names = "weight_ih", "weight_hh", "bias", "h0", "c0", "peephole"
        weight_ih, *others = (parameters.get(name + suffix) for name in names)
        if name != "LSTM2d":
            weight_ih = masked(weight_ih, module.mask_type, module.image_channels, gates=4)
        bias_maps = None if gate_bias is None else mirror(gate_bias.chunk(len(corners), 1)[k], corner)
        h = scan(mirror(x, corner), bias_maps, weight_ih, *others, cell=cell, is_row=name == "RowLSTM")
        maps.append(mirror(h, corner))
    if merge == "shift":
        left, right = maps
        return left + torch.nn.functional.pad(right[:, :, :-1], (0, 0, 1, 0))
    maps = torch.stack(maps, 1)
    return {"concat": maps.flatten(1, 2), "sum": maps.sum(1), "mean": maps.mean(1), None: maps}[merge]
