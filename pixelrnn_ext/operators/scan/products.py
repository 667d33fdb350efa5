"""The matrix products before and after a recurrence, in torch.

A GPU runs them for every scan, a CPU only for torch.vmap of a backward.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ...directions import CORNERS
from .arguments import Gradients, Scan
from .sizes import fill_outside

# The most neighbours (taps) whose states are copied at once. The copy is then no larger than the gates' gradient.
_MAX_TAPS = 4

# Gathers the states of each pixel's neighbours (taps) as [D, B, H, W, taps, h]. Takes the states [B, H, W, D, h], the
# state outside the image [D, h] or None for zero, the scan, the first tap, and the number of taps.
Neighbours = Callable[[Tensor, Tensor | None, Scan, int, int], Tensor]


def input_to_state(s: Scan) -> Tensor | None:
    """Returns the pre-activations without the recurrent product, [D, B, H, W, G * h].

    Returns None if the scan has neither an input with weights nor ``x``.
    """
    if s.input is None or s.weight_ih is None:
        return s.x if s.x is None or s.bias is None else s.x + pack_gates(s.bias[:, None, None, None])
    directions, taps = s.weight_ih.shape[:2]
    channels = s.input.shape[3]
    matrix = pack_gates(s.weight_ih.permute(0, 1, 4, 2, 3)).reshape(directions, taps * channels, -1)
    pixels = _input_neighbours(s).reshape(directions, -1, taps * channels)
    bias = None if s.bias is None else pack_gates(s.bias[:, None])
    product = torch.bmm(pixels, matrix) if bias is None else torch.baddbmm(bias, pixels, matrix)
    product = product.view(directions, *s.size, matrix.shape[2])
    if s.x is None:
        return product
    if (s.x.shape, s.x.dtype) != (product.shape, product.dtype):
        expected, got = f"{product.dtype} {tuple(product.shape)}", f"{s.x.dtype} {tuple(s.x.shape)}"
        raise ValueError(f"scan: expected x of {expected}, got {got}")
    return product.add_(s.x)


def input_gradient(s: Scan, dx: Tensor) -> Tensor:
    """Returns the input's gradient, summed over directions. ``dx`` is the gradient of the gates' pre-activations."""
    assert s.weight_ih is not None
    _, taps, _, _, channels = s.weight_ih.shape
    matrices = pack_gates(s.weight_ih.permute(0, 1, 4, 2, 3)).flatten(1, 2).transpose(1, 2)
    total: Tensor | None = None
    for pixels, matrix, (_, right) in zip(dx.flatten(1, 3), matrices, signs(s)):
        if taps == 1 and s.input_kernel == 1:
            total = pixels @ matrix if total is None else torch.addmm(total, pixels, matrix)
            continue
        products = (pixels @ matrix).view(*s.size, taps, channels)
        for k in range(taps):
            shifted = displaced(products[:, :, :, k], 0, (k - s.input_kernel // 2) * right)
            total = shifted if total is None else total + shifted
    assert total is not None
    return fill_outside(total.reshape(*s.size, channels), s.sizes if s.input_kernel > 1 else None, 0)


def weight_gradients(g: Gradients, dx: Tensor, groups: int, neighbours: Neighbours) -> dict[str, Tensor]:
    """Returns the wanted gradients of weight_ih, bias and weight_hh, each [D, groups, ...].

    Each is a sum over one of ``groups`` equal groups of images.
    """
    s = g.scan
    directions, taps, hidden, _, _ = s.weight_hh.shape
    images, height, width = s.size
    # Without pixels, reshape could not infer a size of -1.
    pixels = images // groups * height * width
    rows = dx.reshape(directions, groups, pixels, dx.shape[-1])

    def product(values: Tensor, rows: Tensor) -> Tensor:
        """Returns the gradient of weights, [..., taps, h, G, channels], which is a sum over the pixels."""
        taps, channels = values.shape[-2:]
        values = values.reshape(*rows.shape[:-1], taps * channels)
        return unpack_gates(values.transpose(-1, -2) @ rows, hidden).unflatten(-3, (taps, channels)).movedim(-3, -1)

    grads = {}
    if g.wants("weight_ih"):
        grads["weight_ih"] = product(_input_neighbours(s), rows)
    if g.wants("bias"):
        grads["bias"] = unpack_gates(rows.sum(2), hidden)
    if g.wants("weight_hh"):
        counts = [(k, min(_MAX_TAPS, taps - k)) for k in range(0, taps, _MAX_TAPS)]
        products = [product(neighbours(g.h, s.h0, s, *count), rows) for count in counts]
        grads["weight_hh"] = products[0] if len(products) == 1 else torch.cat(products, 2)
    return grads


def displaced_states(m: Tensor, border: Tensor | None, s: Scan, first: int, count: int) -> Tensor:
    taps = s.weight_hh.shape[1]
    # Each pair (rows above the pixel, columns before the pixel) is the place of a neighbour. Above and before are meant
    # in the direction of the scan.
    moves = ([(1, 0), (0, 1)] if s.diagonal else [(1, taps // 2 - k) for k in range(taps)])[first : first + count]

    def gather(d: int, down: int, right: int) -> Tensor:
        outside = None if border is None else border[d]
        map = fill_outside(m[..., d, :], s.sizes, 0 if outside is None else outside)
        return torch.stack([displaced(map, up * down, left * right, outside) for up, left in moves], -2)

    return torch.stack([gather(d, *sense) for d, sense in enumerate(signs(s))])


def signs(s: Scan) -> list[tuple[int, int]]:
    """Returns the row step and column step of each direction, 1 or -1."""
    return [list(CORNERS.values())[corner] for corner in s.corners]


def displaced(m: Tensor, up: int, left: int, border: Tensor | None = None) -> Tensor:
    """Moves a map [B, H, W, C] down by ``up`` rows and right by ``left`` columns. Fills with ``border`` or zero."""
    _, height, width, _ = m.shape

    # Uses narrow, because a slice of a whole axis calls aten::alias, which torch.vmap cannot batch here.
    def move(t: Tensor) -> Tensor:
        t = F.pad(t, (0, 0, max(left, 0), max(-left, 0), max(up, 0), max(-up, 0)))
        return t.narrow(1, max(-up, 0), height).narrow(2, max(-left, 0), width)

    return move(m) if border is None else move(m) + border * (1 - move(torch.ones_like(m[:1, ..., :1])))


def pack_gates(t: Tensor) -> Tensor:
    """Converts gates [..., h, G] to rows [..., G * h]: the first four gates of each unit, then all fifth gates."""
    return t.flatten(-2) if t.shape[-1] == 4 else torch.cat([t[..., :4].flatten(-2), t[..., 4]], -1)


def unpack_gates(rows: Tensor, hidden: int) -> Tensor:
    if rows.shape[-1] == 4 * hidden:
        return rows.unflatten(-1, (hidden, 4))
    return torch.cat([rows[..., : 4 * hidden].unflatten(-1, (hidden, 4)), rows[..., 4 * hidden :, None]], -1)


def _input_neighbours(s: Scan) -> Tensor:
    """Returns the input that each pixel reads, [D, B, H, W, taps, channels]."""
    assert s.input is not None and s.weight_ih is not None
    directions, taps = s.weight_ih.shape[:2]
    pixels = fill_outside(s.input, s.sizes, 0)
    if taps == 1 and s.input_kernel == 1:
        return pixels.unsqueeze(-2).expand(directions, -1, -1, -1, -1, -1)

    def gather(right: int) -> Tensor:
        return torch.stack([displaced(pixels, 0, (s.input_kernel // 2 - k) * right) for k in range(taps)], -2)

    return torch.stack([gather(right) for _, right in signs(s)])
