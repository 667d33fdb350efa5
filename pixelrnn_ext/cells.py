"""The cells of a two-dimensional LSTM: their gates, and their formulas in plain PyTorch.

A pixel has two neighbours before it, *up* and *left* in the order of its scan, and z are its pre-activations::

    z = W x + U h_up + V h_left + b          g = tanh(z_g), every other gate is sigmoid(z)

Which neighbours' c it takes on, and how, is the cell: see :data:`CELLS`.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

CLIP = 100.0  # of |c|, of the cell "max"


class Cell(NamedTuple):
    """What is known of a cell.

    ``gates``: the blocks of a weight's rows, in this order: by place those of torch.nn.LSTM, and last what the second
    neighbour brings. ``state``: c from the activated gates and both old c.
    ``forget_gates``: the blocks whose bias is set to ``forget_bias`` at first, None leaves it as the others are.
    ``zero_bias``: whether all of them start at zero instead. ``peepholes``: whether the gates may see c.
    """

    gates: tuple[str, ...]
    state: Callable[[Sequence[Tensor], Tensor, Tensor], Tensor]
    forget_gates: tuple[int, ...] = ()
    forget_bias: float | None = None
    zero_bias: bool = False
    peepholes: bool = False

    @property
    def carries_up(self) -> bool:
        """Whether it takes on c of the pixel above, not only of the one to the left."""
        return len(self.gates) > 4


def _mixed(share: Tensor, c_up: Tensor, c_left: Tensor) -> Tensor:
    return share * c_up + (1 - share) * c_left


def _pixelrnn(gates: Sequence[Tensor], c_up: Tensor, c_left: Tensor) -> Tensor:
    i, f, g, _ = gates
    return f * c_left + i * g


def _stable(gates: Sequence[Tensor], c_up: Tensor, c_left: Tensor) -> Tensor:
    i, f, g, _, share = gates
    return f * _mixed(share, c_up, c_left) + i * g


def _graves(gates: Sequence[Tensor], c_up: Tensor, c_left: Tensor) -> Tensor:
    i, f_left, g, _, f_up = gates
    return f_left * c_left + f_up * c_up + i * g


def _halved(gates: Sequence[Tensor], c_up: Tensor, c_left: Tensor) -> Tensor:
    i, f_left, g, _, f_up = gates
    return 0.5 * (f_left * c_left + f_up * c_up) + i * g


def _leaky(gates: Sequence[Tensor], c_up: Tensor, c_left: Tensor) -> Tensor:
    phi, _, g, _, share = gates
    return (1 - phi) * _mixed(share, c_up, c_left) + phi * g


def _max(gates: Sequence[Tensor], c_up: Tensor, c_left: Tensor) -> Tensor:
    c = _graves(gates, c_up, c_left)  # of the gates that lose nothing is left
    return torch.where(c.abs() < CLIP, c, c.detach().clamp(-CLIP, CLIP))  # at the bound there is no gradient


_TWO_FORGET_GATES = ("i", "f_left", "g", "o", "f_up")

# pixelrnn   PixelRNN (1601.06759, section 3.3): c = i g + f c_left
# stable     RETURNN and rnn2d: m = lambda c_up + (1 - lambda) c_left, c = i g + f m, so |c| stays bounded
# graves     RNNLIB, which allows peepholes: c = i g + f_up c_up + f_left c_left; c may double with every line
# halved     rnn2d: the same with the mean of the two products
# leaky      multi-hare's LeakyLP without peepholes: c = phi g + (1 - phi) m, h = tanh(o_prev m + o c)
# max        tesseract: the product of the larger forget gate, the left one's in the first row; |c| at most 100
#
# But for leaky h = o tanh(c).
CELLS = {
    "pixelrnn": Cell(("i", "f", "g", "o"), _pixelrnn, (1,)),
    "stable": Cell(("i", "f", "g", "o", "lambda"), _stable, (1,), 1.0),
    "graves": Cell(_TWO_FORGET_GATES, _graves, (1, 4), -1.0, peepholes=True),
    "halved": Cell(_TWO_FORGET_GATES, _halved, (1, 4), 1.0, peepholes=True),
    "leaky": Cell(("phi", "o_prev", "g", "o", "lambda"), _leaky, zero_bias=True),
    "max": Cell(_TWO_FORGET_GATES, _max, (1, 4), 1.0),
}


def check_cell(cell: str) -> None:
    """ValueError unless there is such a cell."""
    if not isinstance(cell, str) or cell not in CELLS:
        raise ValueError(f"expected cell to be one of {', '.join(map(repr, CELLS))}, got {cell!r}")


def check_peepholes(cell: str) -> None:
    """ValueError unless the cell, which has been checked, may have peepholes."""
    if not CELLS[cell].peepholes:
        able = " or ".join(repr(name) for name, other in CELLS.items() if other.peepholes)
        raise ValueError(f"expected no peepholes but for cell {able}, got cell {cell!r}")


def update(
    cell: str, z: Tensor, c_up: Tensor, c_left: Tensor, top: Tensor | None = None, peephole: Tensor | None = None
) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
    """h, c and the activated gates of pixels; of max the gate that loses is 0.

    Args:
        cell: a name of :data:`CELLS`, of G gates.
        z: (..., G * hidden), the pre-activations.
        c_up, c_left: (..., hidden).
        top: whether a pixel is in the first row, broadcastable to (..., hidden); None: no pixel is.
        peephole: (4, hidden), of i, f_left, f_up, o: the first three see the old c, the last one the new.
    """
    kind = CELLS[cell]
    i, f, g, o, *fifth = z.chunk(len(kind.gates), dim=-1)
    if peephole is not None:
        p_i, p_left, p_up, p_o = peephole.unbind()
        i = i + p_i * (c_up + c_left)
        f, fifth = f + p_left * c_left, [fifth[0] + p_up * c_up]
    i, f, g, fifth = i.sigmoid(), f.sigmoid(), g.tanh(), [z.sigmoid() for z in fifth]
    if cell == "max":
        left = f >= fifth[0] if top is None else (f >= fifth[0]) | top
        f, fifth = torch.where(left, f, 0), [torch.where(left, 0, fifth[0])]
    c = kind.state((i, f, g, o, *fifth), c_up, c_left)
    o = (o if peephole is None else o + p_o * c).sigmoid()
    # f of leaky is its o_prev
    h = (f * _mixed(fifth[0], c_up, c_left) + o * c).tanh() if cell == "leaky" else o * c.tanh()
    return h, c, (i, f, g, o, *fifth)
