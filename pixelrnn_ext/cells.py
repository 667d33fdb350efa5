"""The cells of a two-dimensional LSTM in plain PyTorch. :func:`pixelrnn_ext.functional.lstm2d` has the formulas.

A pixel reads its neighbours *up* and *left*, which come before it in the scan.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

CLIP = 100.0  # bound of |c| in the cell "max"


class Cell(NamedTuple):
    gates: tuple[str, ...]  # in the order of a weight's rows: four as in torch.nn.LSTM, then f_up or lambda, if any
    forget_gates: tuple[int, ...] = ()  # indices of the gates whose bias starts at forget_bias
    forget_bias: float | None = None  # None initialises it like the other biases
    zero_bias: bool = False
    peepholes: bool = False  # whether the cell takes peephole weights

    @property
    def carries_up(self) -> bool:
        """Whether c depends on c_up as well as on c_left."""
        return len(self.gates) > 4


def _mixed(weight: Tensor, c_up: Tensor, c_left: Tensor) -> Tensor:
    return weight * c_up + (1 - weight) * c_left


def _new_c(cell: str, gates: Sequence[Tensor], c_up: Tensor, c_left: Tensor) -> Tensor:
    i, f, g, _, *fifth = gates  # i is phi in the cell leaky
    if cell == "pixelrnn":
        return f * c_left + i * g
    if cell == "stable":
        return f * _mixed(fifth[0], c_up, c_left) + i * g
    if cell == "leaky":
        return (1 - i) * _mixed(fifth[0], c_up, c_left) + i * g
    carried = f * c_left + fifth[0] * c_up  # in the cell max one forget gate is 0
    if cell == "halved":
        return 0.5 * carried + i * g
    c = carried + i * g
    if cell == "graves":
        return c
    return torch.where(c.abs() < CLIP, c, c.detach().clamp(-CLIP, CLIP))  # no gradient where c is clipped


_TWO_FORGET_GATES = ("i", "f_left", "g", "o", "f_up")

# The papers and programs that the cells come from.
# pixelrnn: PixelRNN (1601.06759, section 3.3).
# stable: RETURNN and rnn2d. |c| stays bounded.
# graves: RNNLIB, which allows peepholes. c may double with every line.
# halved: rnn2d.
# leaky: multi-hare's LeakyLP, here without peepholes.
# max: Tesseract.
CELLS = {
    "pixelrnn": Cell(("i", "f", "g", "o"), (1,)),
    "stable": Cell(("i", "f", "g", "o", "lambda"), (1,), 1.0),
    "graves": Cell(_TWO_FORGET_GATES, (1, 4), -1.0, peepholes=True),
    "halved": Cell(_TWO_FORGET_GATES, (1, 4), 1.0, peepholes=True),
    "leaky": Cell(("phi", "o_prev", "g", "o", "lambda"), zero_bias=True),
    "max": Cell(_TWO_FORGET_GATES, (1, 4), 1.0),
}


def check_cell(cell: str) -> None:
    if not isinstance(cell, str) or cell not in CELLS:
        raise ValueError(f"expected cell to be one of {', '.join(map(repr, CELLS))}, got {cell!r}")


def check_peepholes(cell: str) -> None:
    if not CELLS[cell].peepholes:
        names = " or ".join(repr(name) for name, other in CELLS.items() if other.peepholes)
        raise ValueError(f"expected peepholes only with cell {names}, got cell {cell!r}")


def update(
    cell: str, z: Tensor, c_up: Tensor, c_left: Tensor, top: Tensor | None = None, peephole: Tensor | None = None
) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
    """Returns h, c and the activated gates of pixels. In the cell max the smaller forget gate is returned as 0.

    Args:
        cell: a name of :data:`CELLS`, with G gates.
        z: (..., G * hidden), the pre-activations.
        c_up, c_left: (..., hidden).
        top: whether a pixel is in the first row, broadcastable to (..., hidden); None: no pixel is.
        peephole: (4, hidden), for i, f_left, f_up, o: the first three gates see the neighbours' c, o sees the new c.
    """
    kind = CELLS[cell]
    i, f, g, o, *fifth = z.chunk(len(kind.gates), dim=-1)
    if peephole is not None:
        p_i, p_left, p_up, p_o = peephole.unbind()
        i = i + p_i * (c_up + c_left)
        f, fifth = f + p_left * c_left, [fifth[0] + p_up * c_up]
    i, f, g, fifth = i.sigmoid(), f.sigmoid(), g.tanh(), [z.sigmoid() for z in fifth]
    if cell == "max":
        reads_left = f >= fifth[0] if top is None else (f >= fifth[0]) | top
        f, fifth = torch.where(reads_left, f, 0), [torch.where(reads_left, 0, fifth[0])]
    c = _new_c(cell, (i, f, g, o, *fifth), c_up, c_left)
    o = (o if peephole is None else o + p_o * c).sigmoid()
    # f is o_prev in the cell leaky
    h = (f * _mixed(fifth[0], c_up, c_left) + o * c).tanh() if cell == "leaky" else o * c.tanh()
    return h, c, (i, f, g, o, *fifth)
