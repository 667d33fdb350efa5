"""The operators in differentiable PyTorch: what makes second, forward-mode and per-image derivatives right.

A loop over the lines of the map, as in :mod:`pixelrnn_ext.reference`, but on the operators' arguments and with their
outputs. The backward takes the tensors that the forward saves, not the pre-activations, and it also accepts gradients
of c and of the gates, which the first derivative never has but the second one does: differentiating the backward gives
gradients of the saved c and gates, and through them of everything that they were computed from. Shapes as in
csrc/operators/recurrence.cpp; halves are computed in float32. ``path`` and ``tf32`` are the operators'; they do not
matter here.
"""

from collections.abc import Callable
from functools import reduce
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ...reference import skew, unskew


# What the forward saves: the cell state in float32 at least, the activated gates (all in (-1, 1)) in the more precise
# half. Their gradients, which only a second derivative has, are float16 then too, of bfloat16 maps as well.
def state_dtype(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


def gates_dtype(dtype: torch.dtype) -> torch.dtype:
    return torch.float16 if dtype == torch.bfloat16 else dtype


def line_scan(
    x: Tensor | None,
    weight: Tensor,
    h0: Tensor | None,
    c0: Tensor | None,
    input: Tensor | None,
    weight_ih: Tensor | None,
    bias: Tensor | None,
    input_kernel: int,
    diagonal: bool,
    reverse: bool,
    path: str = "auto",
    tf32: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """(h, c, gates)."""
    dtype, wide = weight.dtype, state_dtype(weight.dtype)
    weight = weight.to(wide)
    x, h0, c0, input, weight_ih, bias = (_to(wide, t) for t in (x, h0, c0, input, weight_ih, bias))
    if input is not None and weight_ih is not None:
        product = input_to_state(input, weight_ih, bias, input_kernel, reverse)
        x = product if x is None else product + x
    elif x is not None and bias is not None:
        x = x + bias[:, None, None, None]
    assert x is not None  # the operator has checked that there is x or input
    directions = [
        _forward(x[d], weight[d], _of(d, h0), _of(d, c0), _Lines(diagonal, reverse != (d == 1), x.shape))
        for d in range(weight.shape[0])
    ]
    h, c, gates = (torch.stack(t) for t in zip(*directions))
    return h.to(dtype), c, gates.to(gates_dtype(dtype))


def bilstm_scan(*args: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(y, h, c, gates) of two directions, y their merged map."""
    h, c, gates = line_scan(*args)
    return merge_directions(h), h, c, gates


def merge_directions(h: Tensor) -> Tensor:
    """[2, B, H, W, h] -> [B, H, W, h]: the first direction plus the second one, shifted down by a row (section 3.3)."""
    return (h[0] + F.pad(h[1, :, :-1], (0, 0, 0, 0, 1, 0))).contiguous()


def split_directions(dy: Tensor) -> Tensor:
    """The adjoint of the merge: the gradient of its result to that of each direction."""
    return torch.stack([dy, F.pad(dy[:, 1:], (0, 0, 0, 0, 0, 1))])


def line_scan_backward(
    dh: Tensor | None,
    weight: Tensor,
    h0: Tensor | None,
    c0: Tensor | None,
    c: Tensor,
    gates: Tensor,
    diagonal: bool,
    reverse: bool,
    path: str = "auto",
    tf32: bool = False,
    dc: Tensor | None = None,
    dgates: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """(dx, dh0, dc0) from gradients of h, c and the gates, each of which may be None."""
    dtype, wide = weight.dtype, state_dtype(weight.dtype)
    weight, c, gates = weight.to(wide), c.to(wide), gates.to(wide)
    dh, dc, dgates, c0 = (_to(wide, t) for t in (dh, dc, dgates, c0))
    directions = [
        _backward(
            _of(d, dh),
            _of(d, dc),
            _of(d, dgates),
            _of(d, c0),
            weight[d],
            c[d],
            gates[d],
            _Lines(diagonal, reverse != (d == 1), gates.shape),
        )
        for d in range(weight.shape[0])
    ]
    dx, dh0, dc0 = (torch.stack(t) for t in zip(*directions))
    return dx.to(dtype), dh0[: 0 if h0 is None else None], dc0[: 0 if c0 is None else None]


def _to(dtype: torch.dtype, tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.to(dtype)


def _of(direction: int, tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor[direction]


class _Lines:
    """The lines of one direction's maps: ``take`` maps [B, H, W, ...] to [lines, B, cells, ...], ``give`` is its
    inverse."""

    def __init__(self, diagonal: bool, mirrored: bool, shape: torch.Size) -> None:
        self._diagonal, self._mirrored = diagonal, mirrored
        _, _, self._height, self._width, *_ = shape

    def take(self, m: Tensor) -> Tensor:
        m = m.flip(2) if self._mirrored else m
        if not self._diagonal:
            return m.transpose(0, 1)
        return skew(m.flatten(3).permute(0, 3, 1, 2)).permute(3, 0, 2, 1).unflatten(-1, m.shape[3:])

    def give(self, lines: Tensor) -> Tensor:
        if self._diagonal:
            sizes = lines.shape[3:]
            m = unskew(lines.flatten(3).permute(1, 3, 2, 0), self._width).permute(0, 2, 3, 1).unflatten(-1, sizes)
        else:
            m = lines.transpose(0, 1)
        return m.flip(2) if self._mirrored else m

    def active(self, like: Tensor) -> Tensor:
        """[lines, 1, cells, 1]: which cells are pixels."""
        return self.take(torch.ones(1, self._height, self._width, 1, device=like.device)) > 0


def _forward(x: Tensor, weight: Tensor, h0: Tensor | None, c0: Tensor | None, lines: _Lines) -> list[Tensor]:
    active, x = lines.active(x), lines.take(x)
    _, images, cells, hidden, _ = x.shape
    taps = weight.shape[0]
    before = taps // 2  # of the taps, those that read a cell of a lower number
    matrix = weight.flatten(1, 2).transpose(1, 2).flatten(0, 1)  # [taps * hidden, hidden * 4]
    border_h, border_c = (x.new_zeros(hidden) if state is None else state for state in (h0, c0))
    h, c = (border.expand(images, cells, hidden) for border in (border_h, border_c))
    maps = []
    for t, pre_activation in enumerate(x.unbind()):
        sides = [border_h.expand(images, n, hidden) for n in (before, taps - 1 - before)]
        padded = torch.cat([sides[0], h, sides[1]], 1)
        neighbours = torch.cat([padded[:, k : k + cells] for k in range(taps)], -1)
        i, f, g, o = (pre_activation + (neighbours @ matrix).unflatten(-1, (hidden, 4))).unbind(-1)
        i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
        c = f * c + i * g
        h = o * c.tanh()
        maps.append((h, c, torch.stack([i, f, g, o], -1)))
        h, c = torch.where(active[t], h, border_h), torch.where(active[t], c, border_c)
    return [lines.give(torch.stack(m)) for m in zip(*maps)]


def _backward(
    dh: Tensor | None,
    dc: Tensor | None,
    dgates: Tensor | None,
    c0: Tensor | None,
    weight: Tensor,
    c: Tensor,
    gates: Tensor,
    lines: _Lines,
) -> tuple[Tensor, Tensor, Tensor]:
    active = lines.active(c)
    dh, dc, dgates = (None if t is None else lines.take(t) for t in (dh, dc, dgates))
    c, gates = lines.take(c), lines.take(gates)
    _, images, cells, hidden = c.shape
    taps = weight.shape[0]
    before = taps // 2
    border = c.new_zeros(hidden) if c0 is None else c0
    dh0 = dc0 = c.new_zeros(images, hidden)
    into_h = into_c = c.new_zeros(images, cells, hidden)  # gradients from the next line
    dx = []
    for t in reversed(range(c.shape[0])):
        # A cell outside the image is a copy of the border; its gates are zero here, which stops its gradients.
        dh0 = dh0 + torch.where(active[t], 0, into_h).sum(1)
        dc0 = dc0 + torch.where(active[t], 0, into_c).sum(1)
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
        padded = reduce(torch.add, (F.pad(p, (0, 0, k, taps - 1 - k)) for k, p in enumerate(products)))
        into_h, into_c = padded[:, before : before + cells], d_c * f
        dh0 = dh0 + padded[:, :before].sum(1) + padded[:, before + cells :].sum(1)
    return lines.give(torch.stack(dx[::-1])), dh0 + into_h.sum(1), dc0 + into_c.sum(1)


def input_to_state(input: Tensor, weight_ih: Tensor, bias: Tensor | None, input_kernel: int, reverse: bool) -> Tensor:
    """The convolution of the input and the bias, [D, B, H, W, h, 4]."""
    directions, taps, hidden, _, channels = weight_ih.shape
    matrix = weight_ih.permute(0, 1, 4, 2, 3).reshape(directions, taps * channels, 4 * hidden)
    if taps == 1 and input_kernel == 1:
        pixels = input.reshape(1, -1, channels).expand(directions, -1, -1)
    else:
        mirrored = [reverse != (d == 1) for d in range(directions)]
        neighbours = [torch.cat(input_neighbours(input, taps, input_kernel, m), -1) for m in mirrored]
        pixels = torch.stack(neighbours).reshape(directions, -1, taps * channels)
    if bias is None:
        product = torch.bmm(pixels, matrix)
    else:
        product = torch.baddbmm(bias.reshape(directions, 1, 4 * hidden), pixels, matrix)
    return product.view(directions, *input.shape[:3], hidden, 4)


def line_scan_weight_grad(
    dx: Tensor,
    h: Tensor | None,
    h0: Tensor | None,
    input: Tensor | None,
    taps: int,
    input_taps: int,
    input_kernel: int,
    bias: bool,
    diagonal: bool,
    reverse: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """(dweight, dweight_ih, dbias); of those whose operand is None, or that are not asked for, an empty one."""
    dweight, dweight_ih, dbias = grouped_weight_grad(
        1, dx, h, h0, input, taps, input_taps, input_kernel, bias, diagonal, reverse
    )
    return dweight.squeeze(1), dweight_ih.squeeze(1), dbias.squeeze(1)


def grouped_weight_grad(
    groups: int,
    dx: Tensor,
    h: Tensor | None,
    h0: Tensor | None,
    input: Tensor | None,
    taps: int,
    input_taps: int,
    input_kernel: int,
    bias: bool,
    diagonal: bool,
    reverse: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """As :func:`line_scan_weight_grad`, with a second axis: sums over each of the groups of images that follow one
    another."""
    directions, images, height, width, hidden, _ = dx.shape
    pixels = images // groups * height * width  # of a group; no -1 for them, since there may be none
    dweight = dweight_ih = dbias = None
    mirrored = [reverse != (d == 1) for d in range(directions)]
    dx = dx.reshape(directions, groups, pixels, 4 * hidden)
    if h is not None:
        moves = state_moves(diagonal, taps)
        border = [None if h0 is None else h0[d] for d in range(directions)]
        neighbours = [
            [displaced(h[d], up, left, mirrored[d], border[d]) for up, left in moves] for d in range(directions)
        ]
        dweight = torch.stack([_product(*pair) for pair in zip(dx, neighbours)])
    if input is not None:
        neighbours = [input_neighbours(input, input_taps, input_kernel, m) for m in mirrored]
        dweight_ih = torch.stack([_product(*pair) for pair in zip(dx, neighbours)])
    if bias:
        dbias = dx.sum(2).unflatten(-1, (hidden, 4))
    channels = 0 if input is None else input.shape[-1]
    return (
        dx.new_zeros(0, groups, taps, hidden, 4, hidden) if dweight is None else dweight,
        dx.new_zeros(0, groups, input_taps, hidden, 4, channels) if dweight_ih is None else dweight_ih,
        dx.new_zeros(0, groups, hidden, 4) if dbias is None else dbias,
    )


def _product(dx: Tensor, neighbours: list[Tensor]) -> Tensor:
    """[groups, taps, h, 4, channels]: dx [groups, n, 4 * h] times each of the neighbours' maps, in one matrix
    product."""
    groups, pixels, columns = dx.shape
    channels = neighbours[0].shape[-1]
    product = dx.transpose(1, 2) @ torch.cat(neighbours, -1).reshape(groups, pixels, len(neighbours) * channels)
    return product.view(groups, columns // 4, 4, len(neighbours), channels).permute(0, 3, 1, 2, 4)


def line_scan_gradients(
    dh: Tensor | None,
    weight: Tensor,
    h0: Tensor | None,
    c0: Tensor | None,
    input: Tensor | None,
    weight_ih: Tensor | None,
    h: Tensor,
    c: Tensor,
    gates: Tensor,
    input_kernel: int,
    diagonal: bool,
    reverse: bool,
    of_x: bool,
    of_weight: bool,
    of_input: bool,
    of_weight_ih: bool,
    of_bias: bool,
    path: str = "auto",
    tf32: bool = False,
    *,
    scan_backward: Callable[..., tuple[Tensor, ...]] = line_scan_backward,
    weight_grad: Callable[..., tuple[Tensor, ...]] = line_scan_weight_grad,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """(dx, dweight, dh0, dc0, dinput, dweight_ih, dbias): the backward scan, and what is made of its dx. Those
    that are not asked for have no elements, nor have dh0 and dc0 where there is no h0 or c0."""
    if dh is not None and dh.dim() == 4:  # of the merged map
        dh = split_directions(dh)
    dx, dh0, dc0 = scan_backward(dh, weight, h0, c0, c, gates, diagonal, reverse, path, tf32)
    height, width, hidden = dx.shape[2:5]
    channels = 0 if input is None else input.shape[-1]
    taps, input_taps = weight.shape[1], 0 if weight_ih is None else weight_ih.shape[1]
    dweight, dweight_ih, dbias = weight_grad(
        dx,
        h if of_weight else None,
        h0,
        input if of_weight_ih else None,
        taps,
        input_taps,
        input_kernel,
        of_bias,
        diagonal,
        reverse,
    )
    if not of_weight_ih:
        dweight_ih = dx.new_empty(0, input_taps, hidden, 4, channels)
    if of_input:
        assert weight_ih is not None  # the operator has checked that it goes with its input
        dinput = _input_grad(dx, weight_ih, input_kernel, reverse)
    else:
        dinput = dx.new_empty(0, height, width, channels)
    return dx if of_x else dx.new_empty(0, *dx.shape[1:]), dweight, dh0, dc0, dinput, dweight_ih, dbias


def _input_grad(dx: Tensor, weight_ih: Tensor, kernel: int, reverse: bool) -> Tensor:
    """Gradient of the layer's input: the transposed input-to-state convolution of dx, summed over directions."""
    directions, images, height, width, hidden, _ = dx.shape
    taps, channels = weight_ih.shape[1], weight_ih.shape[4]
    total: Tensor | None = None
    for d in range(directions):
        columns = weight_ih[d].permute(1, 2, 0, 3).reshape(4 * hidden, taps * channels)
        pixels = dx[d].reshape(-1, 4 * hidden)
        if taps == 1 and kernel == 1:
            total = pixels @ columns if total is None else torch.addmm(total, pixels, columns)
            continue
        products = (pixels @ columns).view(images, height, width, taps, channels)
        for k in range(taps):
            moved = displaced(products[:, :, :, k], 0, k - kernel // 2, reverse != (d == 1)).reshape(-1, channels)
            total = moved if total is None else total + moved
    assert total is not None  # there is a direction
    return total.reshape(images, height, width, channels)


def input_neighbours(input: Tensor, taps: int, kernel: int, mirrored: bool) -> list[Tensor]:
    """The map that each input-to-state tap reads: pixels of the same row, from left to right in the order of the
    scan."""
    return [displaced(input, 0, kernel // 2 - k, mirrored) for k in range(taps)]


def state_moves(diagonal: bool, taps: int) -> list[tuple[int, int]]:
    """The neighbour that each state-to-state tap reads: rows above, columns before (csrc/geometry.h)."""
    return [(1, 0), (0, 1)] if diagonal else [(1, taps // 2 - k) for k in range(taps)]


def displaced(m: Tensor, up: int, left: int, mirrored: bool, border: Tensor | None = None) -> Tensor:
    """The pixel ``up`` rows above and ``left`` columns before each pixel of m [B, H, W, C], the border where there is
    none."""
    _, height, width, _ = m.shape
    left = -left if mirrored else left

    # narrow, not slices: a slice of everything is an alias, which a batch of gradients has no rule for.
    def move(t: Tensor) -> Tensor:
        t = F.pad(t, (0, 0, max(left, 0), max(-left, 0), max(up, 0), max(-up, 0)))
        return t.narrow(1, max(-up, 0), height).narrow(2, max(-left, 0), width)

    return move(m) if border is None else move(m) + border * (1 - move(torch.ones_like(m[:1, ..., :1])))
