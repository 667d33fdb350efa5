"""The backward of the line scan in differentiable PyTorch: what makes second and higher derivatives right.

It takes the tensors that the forward saves, not the pre-activations, and it also accepts gradients of c and of the gates,
which the first derivative never has but the second one does: differentiating the backward gives gradients of the saved
c and gates, and through them of everything that they were computed from. Shapes as in csrc/ops.cpp.
"""

import torch
import torch.nn.functional as F

from .reference import skew, unskew


def line_scan_backward(dh, dc, dgates, weight, h0, c0, c, gates, diagonal, reverse, path="auto", tf32=False):
    """(dx, dh0, dc0) from gradients of h, c and the gates, each of which may be None.

    Halves are computed in float32. ``path`` and ``tf32`` are the operator's; they do not matter here.
    """
    dtype, wide = weight.dtype, torch.promote_types(weight.dtype, torch.float32)
    dh, dc, dgates, weight, c0, c, gates = (None if t is None else t.to(wide) for t in (dh, dc, dgates, weight, c0, c, gates))
    directions = [
        _direction(
            *(None if t is None else t[d] for t in (dh, dc, dgates, weight, c0, c, gates)), diagonal, reverse != (d == 1)
        )
        for d in range(weight.shape[0])
    ]
    dx, dh0, dc0 = (torch.stack(t).to(dtype) for t in zip(*directions))
    return dx, dh0[: 0 if h0 is None else None], dc0[: 0 if c0 is None else None]


def _direction(dh, dc, dgates, weight, c0, c, gates, diagonal, mirrored):
    images, height, width, hidden = c.shape

    def lines(m):  # [B, H, W, ...] -> [lines, B, cells, ...]
        m = m.flip(2) if mirrored else m
        if not diagonal:
            return m.transpose(0, 1)
        return skew(m.flatten(3).permute(0, 3, 1, 2)).permute(3, 0, 2, 1).unflatten(-1, m.shape[3:])

    def unlines(x):  # [lines, B, cells, hidden, 4] -> [B, H, W, hidden, 4]
        if diagonal:
            x = unskew(x.flatten(3).permute(1, 3, 2, 0), width).permute(0, 2, 3, 1).unflatten(-1, (hidden, 4))
        else:
            x = x.transpose(0, 1)
        return x.flip(2) if mirrored else x

    active = lines(torch.ones_like(c[:1, ..., :1])) > 0  # [lines, 1, cells, 1]
    dh, dc, dgates, c, gates = (None if t is None else lines(t) for t in (dh, dc, dgates, c, gates))
    taps, cells = weight.shape[0], c.shape[2]
    border = c.new_zeros(hidden) if c0 is None else c0
    dh0 = dc0 = c.new_zeros(hidden)
    into_h = into_c = c.new_zeros(images, cells, hidden)  # gradients from the next line
    dx = []
    for t in reversed(range(c.shape[0])):
        # A cell outside the image is a copy of the border; its gates are zero here, which stops its gradients.
        dh0 = dh0 + torch.where(active[t], 0, into_h).sum((0, 1))
        dc0 = dc0 + torch.where(active[t], 0, into_c).sum((0, 1))
        into_h, into_c = torch.where(active[t], into_h, 0), torch.where(active[t], into_c, 0)
        c_prev = torch.where(active[t - 1], c[t - 1], border) if t else border
        i, f, g, o = gates[t].unbind(-1)
        tanh_c = c[t].tanh()
        d_h = into_h if dh is None else into_h + dh[t]
        d_c = into_c + d_h * o * (1 - tanh_c**2)
        d_c = d_c if dc is None else d_c + dc[t]
        d_i, d_f, d_g, d_o = d_c * g, d_c * c_prev, d_c * i, d_h * tanh_c
        if dgates is not None:
            d_i, d_f, d_g, d_o = (a + b for a, b in zip((d_i, d_f, d_g, d_o), dgates[t].unbind(-1)))
        d_x = torch.stack([d_i * i * (1 - i), d_f * f * (1 - f), d_g * (1 - g**2), d_o * o * (1 - o)], -1)
        dx.append(d_x)
        products = [torch.einsum("bcug,ugj->bcj", d_x, weight[k]) for k in range(taps)]
        padded = sum(F.pad(p, (0, 0, k, taps - 1 - k)) for k, p in enumerate(products))
        before = taps // 2
        into_h, into_c = padded[:, before : before + cells], d_c * f
        dh0 = dh0 + padded[:, :before].sum((0, 1)) + padded[:, before + cells :].sum((0, 1))
    return unlines(torch.stack(dx[::-1])), dh0 + into_h.sum((0, 1)), dc0 + into_c.sum((0, 1))


def line_scan_weight_grad(dx, h, h0, input, taps, input_taps, input_kernel, bias, diagonal, reverse):
    """(dweight, dweight_ih, dbias); of those whose operand is None, or that are not asked for, an empty one."""
    directions, images, height, width, hidden, _ = dx.shape
    dweight = dweight_ih = dbias = None
    mirrored = [reverse != (d == 1) for d in range(directions)]
    if h is not None:
        moves = state_moves(diagonal, taps)
        border = [None if h0 is None else h0[d] for d in range(directions)]
        dweight = torch.stack(
            [_product(dx[d], [displaced(h[d], *move, mirrored[d], border[d]) for move in moves]) for d in range(directions)]
        )
    if input is not None:
        neighbours = [input_neighbours(input, input_taps, input_kernel, m) for m in mirrored]
        dweight_ih = torch.stack([_product(dx[d], neighbours[d]) for d in range(directions)])
    if bias:
        dbias = dx.sum((1, 2, 3))
    channels = 0 if input is None else input.shape[-1]
    return (
        dx.new_zeros(0, taps, hidden, 4, hidden) if dweight is None else dweight,
        dx.new_zeros(0, input_taps, hidden, 4, channels) if dweight_ih is None else dweight_ih,
        dx.new_zeros(0, hidden, 4) if dbias is None else dbias,
    )


def _product(dx, neighbours):
    """[taps, h, 4, channels]: dx times each of the neighbours' maps, in one matrix product."""
    _, _, _, hidden, _ = dx.shape
    product = dx.reshape(-1, 4 * hidden).t() @ torch.cat(neighbours, -1).flatten(0, 2)
    return product.view(hidden, 4, len(neighbours), -1).permute(2, 0, 1, 3)


def input_neighbours(input, taps, kernel, mirrored):
    """The map that each input-to-state tap reads: pixels of the same row, from left to right in the order of the scan."""
    return [displaced(input, 0, kernel // 2 - k, mirrored) for k in range(taps)]


def state_moves(diagonal, taps):
    """The neighbour that each state-to-state tap reads: rows above, columns before (csrc/geometry.h)."""
    return [(1, 0), (0, 1)] if diagonal else [(1, taps // 2 - k) for k in range(taps)]


def displaced(m, up, left, mirrored, border=None):
    """The pixel ``up`` rows above and ``left`` columns before each pixel of m [B, H, W, C], the border where there is none."""
    _, height, width, _ = m.shape
    left = -left if mirrored else left

    def move(t):
        t = F.pad(t, (0, 0, max(left, 0), max(-left, 0), max(up, 0), max(-up, 0)))
        return t[:, max(-up, 0) :][:, :height, max(-left, 0) :][:, :, :width]

    return move(m) if border is None else move(m) + border * (1 - move(torch.ones_like(m[:1, ..., :1])))
