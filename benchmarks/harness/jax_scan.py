"""The recurrences and layers in JAX: lax.scan over the lines of the images, with a gradient of its own.

Each line of a direction is one product of all its neighbours' states with the weights. The backward scan computes the
gradients of the pre-activations. After it, one product computes the gradient of the weights. The directions of a layer
advance in one loop. All maps are (N, H, W, channels).
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Geometry(NamedTuple):
    diagonal: bool
    # By how many cells each neighbour's line has to move to lie on the cell that reads it. The order is that of the
    # weights: above and left, or from left to right in the row above.
    shifts: tuple[int, ...]


DIAGONAL = Geometry(True, (1, 0))


def row(taps: int) -> Geometry:
    return Geometry(False, tuple(taps // 2 - tap for tap in range(taps)))


def _moved(cells, shift):
    """Moves the cells, which are the second last axis, to higher positions. Zeros follow from outside."""
    if not shift:
        return cells
    widths = [(0, 0)] * (cells.ndim - 2) + [(max(shift, 0), max(-shift, 0)), (0, 0)]
    n = cells.shape[-2]
    return jnp.pad(cells, widths)[..., max(-shift, 0) : max(-shift, 0) + n, :]


def _neighbours(cells, shifts):
    return jnp.concatenate([_moved(cells, shift) for shift in shifts], -1)


def _cell(z, c):
    i, f, g, o = jnp.split(z, 4, -1)
    i, f, g, o = jax.nn.sigmoid(i), jax.nn.sigmoid(f), jnp.tanh(g), jax.nn.sigmoid(o)
    c = f * c + i * g
    return c, o * jnp.tanh(c), (i, f, g, o)


def _cell_gradient(dh, dc, gates, c_before):
    i, f, g, o = gates
    tanh_c = jnp.tanh(f * c_before + i * g)
    dc = dc + dh * o * (1 - tanh_c**2)
    dz = dc * g * i * (1 - i), dc * c_before * f * (1 - f), dc * i * (1 - g**2), dh * tanh_c * o * (1 - o)
    return jnp.concatenate(dz, -1), dc * f


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def scan(xs, weights, c0s, shifts):
    """Scans the lines of each direction.

    Args:
        xs: for each direction the pre-activations without the recurrent product, (lines, N, cells, 4 * hidden).
        weights: for each direction (neighbours * hidden, 4 * hidden).
        c0s: for each direction c before the first line, (N, cells, hidden). Before this line, h is zero.

    Returns:
        For each direction h, (lines, N, cells, hidden).
    """
    return _forward(xs, weights, c0s, shifts)[0]


def _forward(xs, weights, c0s, shifts):
    def line(states, x_line):
        new = [_cell(x + _neighbours(h, shifts) @ w, c) for (h, c), x, w in zip(states, x_line, weights)]
        kept = [(h, gates, c_before) for (_, h, gates), (_, c_before) in zip(new, states)]
        return [(h, c) for c, h, _ in new], kept

    kept = jax.lax.scan(line, [(jnp.zeros_like(c0), c0) for c0 in c0s], xs)[1]
    return [h for h, _, _ in kept], (kept, weights)


def _backward(shifts, saved, dhs):
    kept, weights = saved

    def line(later, items):
        dz_and_dc = [
            _cell_gradient(dh_later + dh, dc, gates, c_before)
            for (dh_later, dc), (dh, gates, c_before) in zip(later, items)
        ]
        earlier = []
        for (dz, dc), w in zip(dz_and_dc, weights):
            parts = jnp.split(dz @ w.T, len(shifts), -1)
            earlier.append((sum(_moved(part, -shift) for part, shift in zip(parts, shifts)), dc))
        return earlier, [dz for dz, _ in dz_and_dc]

    items = [(dh, gates, c_before) for dh, (_, gates, c_before) in zip(dhs, kept)]
    zeros = [(jnp.zeros_like(dh[0]),) * 2 for dh in dhs]
    earlier, dzs = jax.lax.scan(line, zeros, items, reverse=True)
    dweights = [
        jnp.tensordot(_neighbours(h[:-1], shifts), dz[1:], ((0, 1, 2), (0, 1, 2))) for (h, _, _), dz in zip(kept, dzs)
    ]
    return dzs, dweights, [dc0 for _, dc0 in earlier]


scan.defvjp(_forward, _backward)


def _to_lines(maps, diagonal):
    """Returns (lines, N, cells, channels).

    On an anti-diagonal, the cells left and right of the image have gates that keep c and make h zero, and no gradient.
    """
    if not diagonal:
        return maps.transpose(1, 0, 2, 3)
    n, height, width, channels = maps.shape
    lines = height + width - 1
    # A row that is longer by one than the number of lines moves each row right by one more than the row above.
    outside = jnp.repeat(jnp.array([-jnp.inf, jnp.inf, 0, -jnp.inf], maps.dtype), channels // 4)
    outside = jnp.broadcast_to(outside, (n, height, height, channels))
    flat = jnp.concatenate([maps, outside], 2).reshape(n, -1, channels)
    return flat[:, : height * lines].reshape(n, height, lines, channels).transpose(2, 0, 1, 3)


def _to_maps(lines, diagonal, width):
    if not diagonal:
        return lines.transpose(1, 0, 2, 3)
    n, height, channels = lines.shape[1:]
    flat = lines.transpose(1, 2, 0, 3).reshape(n, -1, channels)
    return jnp.pad(flat, ((0, 0), (0, height), (0, 0))).reshape(n, height, width + height, channels)[:, :, :width]


def _scan_maps(geometry, xs, weights, c0s=None):
    lines = [_to_lines(x, geometry.diagonal) for x in xs]
    c0s = c0s or [jnp.zeros(w.shape[1] // 4, w.dtype) for w in weights]
    c0s = [jnp.broadcast_to(c0, (*x.shape[1:3], *c0.shape)) for c0, x in zip(c0s, lines)]
    return [_to_maps(h, geometry.diagonal, xs[0].shape[2]) for h in scan(lines, weights, c0s, geometry.shifts)]


def recurrence(geometry, x, weight):
    return _scan_maps(geometry, [x], [weight])[0]


def layer(geometry, x, *parameters, h0s=(), c0s=()):
    """Computes a RowLSTM without a mask, or a DiagonalBiLSTM.

    ``parameters`` are weight_ih (taps * channels, 4 * hidden), weight_hh and the bias of each direction. The second
    direction scans from the top right. Its map is moved down by one row. A DiagonalBiLSTM may have states outside the
    image, h0 and c0 of each direction, (hidden,).
    """
    weights_ih, weights_hh, biases = (list(parameters[i::3]) for i in range(3))
    inputs = x if geometry.diagonal else _neighbours(x, geometry.shifts)
    zs = [inputs @ w + b for w, b in zip(weights_ih, biases)]
    zs[1:] = [z[:, :, ::-1] for z in zs[1:]]
    for i, h0 in enumerate(h0s):
        above, left = jnp.split(weights_hh[i], 2)
        zs[i] = zs[i].at[:, 0].add(h0 @ above).at[:, :, 0].add(h0 @ left)
    y, *reverse = _scan_maps(geometry, zs, weights_hh, c0s)
    for h in reverse:
        y = y + jnp.pad(h[:, :-1, ::-1], ((0, 0), (1, 0), (0, 0), (0, 0)))
    return y
