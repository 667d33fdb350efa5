"""Converts the weights of other two-dimensional LSTMs to a state_dict of :class:`pixelrnn_ext.lstm2d.LSTM2d`.

Each function converts the weights of one other program. It takes floating-point tensors or numpy arrays in the layout
of that program, and returns a state_dict of copies. The function's docstring names the LSTM2d that can load this
state_dict. In a function for a single scan, ``corner`` names the LSTM2d's direction that gets the weights. The
expression ``first | second`` joins the state_dicts of two scans.

The functions raise TypeError if a value is no floating-point matrix, and ValueError if it does not fit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor

from ._arguments import check_dtype, integer
from .directions import SUFFIXES, check_corners

if TYPE_CHECKING:
    import numpy

Matrix: TypeAlias = "Tensor | numpy.ndarray"

# Each tuple belongs to a program whose weights this module converts. Element k is the position of LSTM2d's gate k among
# the gates of that program.
_RETURNN = (0, 1, 4, 3, 2)  # RETURNN's gates are i, f, lambda, o, g
_RNN2D_HALVED = (0, 2, 4, 3, 1)  # rnn2d's gates are i, f_up, f_left, o, g
_RNN2D_CORNERS = ("tl", "bl", "tr", "br")  # where rnn2d's scans start, in the order of its maps
_PFISTERER = (0, 1, 4, 2, 3)  # Pfisterer's gates are i, f, o, 1 - lambda, g
_TESSERACT = (1, 2, 0, 3, 4)  # Tesseract's gates are CI (our g), GI (i), GF1 (f_left), GO (o), GFS (f_up)


def returnn(V_h: Matrix, V_v: Matrix, W: Matrix, b: Matrix | None = None, *, corner: str = "tl") -> dict[str, Tensor]:
    """Converts the weights of RETURNN's TwoDLSTM.

    The result is for ``LSTM2d(in_channels, hidden_channels, cell="stable", directions=(corner,))``.

    Args:
        V_h, V_v: (hidden, 5 * hidden), the weights of the pixel to the left, and of the pixel above.
        W: (in_channels, 5 * hidden), the weights of the input.
        b: (5 * hidden,), the bias, which RETURNN does not train. If it is None, the result is for an LSTM2d with
            ``bias=False``.

    Example:
        >>> layer = LSTM2d(3, 4, directions=1, bias=False)
        >>> layer.load_state_dict(returnn(torch.randn(4, 20), torch.randn(4, 20), torch.randn(3, 20)))
        <All keys matched successfully>
    """
    left, up, input = _tensor("V_h", V_h), _tensor("V_v", V_v), _tensor("W", W)
    bias = None if b is None else _tensor("b", b)
    hidden = left.shape[0]
    _check("V_h", left, (hidden, 5 * hidden))
    _check("V_v", up, (hidden, 5 * hidden))
    _check("W", input, (input.shape[0], 5 * hidden))
    if bias is not None:
        _check("b", bias, (5 * hidden,))
    return _parameters(corner, _RETURNN, input.t(), up.t(), left.t(), bias)


def rnn2d(parameters: Matrix, hidden_channels: int, stable: bool = False) -> dict[str, Tensor]:
    """Converts the weights of rnn2d's LSTM.

    The result is for ``LSTM2d(in_channels, hidden_channels, cell="halved", directions=("tl", "bl", "tr", "br"))``. The
    gates must have the order of rnn2d's later revisions: i, f_up, f_left, o, g, where rnn2d writes f_y and f_x for f_up
    and f_left. With ``stable`` the order is i, f, lambda, o, g.

    Args:
        parameters: a vector of 4 * (1 + in_channels + 2 * hidden_channels) * 5 * hidden_channels numbers. For each of
            the 4 directions it has the bias, then the weights of the input, of the pixel to the left, and of the pixel
            above.
        hidden_channels: number of hidden channels of each direction.
        stable: whether the parameters are for ``cell="stable"`` instead.

    Example:
        >>> layer = LSTM2d(3, 4, cell="halved", directions=("tl", "bl", "tr", "br"))
        >>> layer.load_state_dict(rnn2d(torch.randn(4 * (1 + 3 + 8) * 20), hidden_channels=4))
        <All keys matched successfully>
    """
    flat, hidden = _tensor("parameters", parameters), integer("hidden_channels", hidden_channels)
    rows, rest = divmod(flat.numel(), 4 * 5 * hidden)
    channels = rows - 1 - 2 * hidden
    if flat.dim() != 1 or rest or channels < 1:
        expected = f"({20 * hidden} * (in_channels + {1 + 2 * hidden}),)"
        raise ValueError(f"expected parameters of shape {expected}, got {tuple(flat.shape)}")
    state: dict[str, Tensor] = {}
    for matrix, corner in zip(flat.view(4, rows, 5 * hidden), _RNN2D_CORNERS):
        bias, input, left, up = matrix.split([1, channels, hidden, hidden])
        order = _RETURNN if stable else _RNN2D_HALVED
        state |= _parameters(corner, order, input.t(), up.t(), left.t(), bias[0])
    return state


def pfisterer(state_dict: Mapping[str, Matrix], *, corner: str = "tl") -> dict[str, Tensor]:
    """Converts the cell of the program FlorianPfisterer/2D-LSTM-Seq2Seq.

    The result is for ``LSTM2d(in_channels, hidden_channels, cell="stable", directions=(corner,))``.

    Args:
        state_dict: ``W.weight`` (5 * hidden, in_channels) for the input, ``U.weight`` (5 * hidden, hidden) for the
            pixel to the left, ``V.weight`` (5 * hidden, hidden) for the pixel above, and the bias (5 * hidden,) of
            each.

    Example:
        >>> theirs = {"W": torch.nn.Linear(3, 20), "U": torch.nn.Linear(4, 20), "V": torch.nn.Linear(4, 20)}
        >>> layer = LSTM2d(3, 4, directions=1)
        >>> layer.load_state_dict(pfisterer(torch.nn.ModuleDict(theirs).state_dict()))
        <All keys matched successfully>
    """
    names = [f"{name}.{kind}" for kind in ("weight", "bias") for name in "WUV"]
    if not isinstance(state_dict, Mapping):
        raise TypeError(f"expected state_dict to be a mapping of names to matrices, got {type(state_dict).__name__}")
    if missing := [name for name in names if name not in state_dict]:
        raise ValueError(f"expected a state_dict with {', '.join(names)}, got one without {', '.join(missing)}")
    tensors = [_tensor(name, state_dict[name]) for name in names]
    input, left, up, *biases = tensors
    channels, hidden = input.shape[-1], left.shape[-1]
    for name, tensor, columns in zip(names, tensors, [(channels,), (hidden,), (hidden,), (), (), ()]):
        _check(name, tensor, (5 * hidden, *columns))
    state = _parameters(corner, _PFISTERER, input, up, left, sum(biases[1:], biases[0]))
    # The program's lambda is 1 minus ours. Since 1 - sigmoid(z) is sigmoid(-z), its weights are negated.
    for tensor in state.values():
        tensor[4 * hidden :].neg_()
    return state


def tesseract(matrices: Sequence[Matrix], *, corner: str = "tl") -> dict[str, Tensor]:
    """Converts the float weights of one two-dimensional LSTM of Tesseract.

    The result is for ``LSTM2d(in_channels, hidden_channels, cell="max", directions=(corner,))``.

    Tesseract runs four such LSTMs in parallel. In the order of their maps, their corners are ``"tl"``, ``"tr"``,
    ``"br"``, ``"bl"``. Tesseract looks up tanh and sigmoid in tables, which have errors of at most 1.5e-6.

    Args:
        matrices: the matrices CI, GI, GF1, GO and GFS, each (hidden, in_channels + 2 * hidden + 1). Their columns are
            for the input, the pixel to the left, the pixel above, and the bias.

    Example:
        >>> layer = LSTM2d(3, 4, cell="max", directions=1)
        >>> layer.load_state_dict(tesseract([torch.randn(4, 3 + 2 * 4 + 1) for _ in range(5)]))
        <All keys matched successfully>
    """
    names = ("CI", "GI", "GF1", "GO", "GFS")
    try:
        count = len(matrices)
    except TypeError:
        raise TypeError(f"expected matrices to be a sequence, got {type(matrices).__name__}") from None
    if count != len(names):
        raise ValueError(f"expected 5 matrices, {', '.join(names)}, got {count}")
    tensors = [_tensor(name, m) for name, m in zip(names, matrices)]
    hidden, columns = tensors[0].shape[0], tensors[0].shape[-1]
    channels = columns - 1 - 2 * hidden
    for name, tensor in zip(names, tensors):
        if tensor.shape != (hidden, columns) or channels < 1:
            expected = f"({hidden}, in_channels + {2 * hidden + 1})"
            raise ValueError(f"expected {name} of shape {expected}, got {tuple(tensor.shape)}")
    input, left, up, bias = torch.cat(tensors).split([channels, hidden, hidden, 1], 1)
    return _parameters(corner, _TESSERACT, input, up, left, bias[:, 0])


def _parameters(
    corner: str, order: Sequence[int], input: Tensor, up: Tensor, left: Tensor, bias: Tensor | None
) -> dict[str, Tensor]:
    """Returns one direction's entries of an LSTM2d's state_dict.

    ``input``, ``up`` and ``left`` are (gates * hidden, columns), and ``bias`` is (gates * hidden,). ``order[k]`` is the
    position of the LSTM2d's gate k in them.
    """
    check_corners((corner,))

    def reorder(rows: Tensor) -> Tensor:
        return rows.unflatten(0, (len(order), -1))[list(order)].flatten(0, 1)

    weight_hh = torch.stack([reorder(up), reorder(left)], -1)
    state = {"weight_ih": reorder(input)[:, :, None, None], "weight_hh": weight_hh}
    if bias is not None:
        state["bias"] = reorder(bias)
    return {name + SUFFIXES[corner]: tensor for name, tensor in state.items()}


def _tensor(name: str, matrix: Matrix) -> Tensor:
    if not hasattr(matrix, "__array__"):  # numpy may be missing, so it is not imported
        raise TypeError(f"expected {name} to be a Tensor or a numpy array, got {type(matrix).__name__}")
    try:
        tensor = torch.as_tensor(matrix).detach()
    except TypeError:  # torch lacks the array's dtype
        raise TypeError(f"expected {name} of numbers, got an array of {matrix.dtype}") from None
    # check_dtype refuses quantised weights. Converting them would need their scales.
    check_dtype(name, tensor.dtype)
    if tensor.dim() == 0:
        raise ValueError(f"expected {name} to be a matrix, got a number")
    return tensor


def _check(name: str, tensor: Tensor, expected: tuple[int, ...]) -> None:
    if tensor.shape != expected:
        raise ValueError(f"expected {name} of shape {expected}, got {tuple(tensor.shape)}")
