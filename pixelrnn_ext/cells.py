"""The cells of two-dimensional LSTMs in plain PyTorch. A cell is the set of equations for a pixel's states h and c.

:func:`pixelrnn_ext.functional.lstm2d` has the formulas. A pixel reads its neighbours *up* and *left*.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

CLIP = 100.0  # the cell "max" keeps c between -CLIP and CLIP


class Cell(NamedTuple):
    # Names in the order of a weight's rows. The first four have the order of torch.nn.LSTM.
    gates: tuple[str, ...]
    forget_gates: tuple[int, ...] = ()  # indices of gates whose bias starts at forget_bias
    # None leaves the forget gates' biases random, like those of the other gates.
    forget_bias: float | None = None
    zero_bias: bool = False
    peepholes: bool = False

    @property
    def carries_up(self) -> bool:
        """Whether c of a pixel also depends on c of the pixel above."""
        return len(self.gates) > 4


def _mixed(weight: Tensor, c_up: Tensor, c_left: Tensor) -> Tensor:
    return weight * c_up + (1 - weight) * c_left


def _new_c(cell: str, gates: Sequence[Tensor], c_up: Tensor, c_left: Tensor) -> Tensor:
    i, f, g, _, *fifth = gates  # in the cell "leaky", i is the gate phi
    if cell == "pixelrnn":
        return f * c_left + i * g
    if cell == "stable":
        return f * _mixed(fifth[0], c_up, c_left) + i * g
    if cell == "leaky":
        return (1 - i) * _mixed(fifth[0], c_up, c_left) + i * g
    carried = f * c_left + fifth[0] * c_up  # in the cell "max", update() has zeroed one forget gate
    if cell == "halved":
        return 0.5 * carried + i * g
    c = carried + i * g
    if cell == "graves":
        return c
    return torch.where(c.abs() < CLIP, c, c.detach().clamp(-CLIP, CLIP))  # clipped values get no gradient


_TWO_FORGET_GATES = ("i", "f_left", "g", "o", "f_up")

# "pixelrnn" is from PixelRNN (arXiv 1601.06759, section 3.3), "graves" from RNNLIB, and "max" from Tesseract. The cells
# "stable" and "halved" are from rnn2d. RETURNN has the cell "stable", too. "leaky" is the cell that the program
# multi-hare calls LeakyLP, without its peepholes.
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
    """Computes a cell's equations for some pixels. Returns h, c and the activated gates.

    The cell "max" uses only the larger of its two forget gates, and returns the other as 0.

    Args:
        cell: the name of a cell in :data:`CELLS`. G is the number of its gates.
        z: (..., G * hidden), the pre-activations of the gates.
        c_up, c_left: (..., hidden), c of the neighbours above and to the left.
        top: True for pixels in the first row, broadcastable to (..., hidden). None means that there are none.
        peephole: (4, hidden), the weights of the peepholes. The first three let the gates i, f_left and f_up read c of
            the neighbours. The last lets the gate o read the new c.
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
    # In the cell "leaky", f is the gate o_prev.
    h = (f * _mixed(fifth[0], c_up, c_left) + o * c).tanh() if cell == "leaky" else o * c.tanh()
    return h, c, (i, f, g, o, *fifth)
