"""The two-dimensional LSTM as a module: a layer that scans an image from its corners."""

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.types import Device

from . import functional
from ._arguments import check_number, integers
from .cells import CELLS, check_cell, check_peepholes
from .directions import SUFFIXES, Direction2d, check_merge, corners_of
from .layers import Recurrent


class LSTM2d(Recurrent):
    """Two-dimensional LSTM of D directions: maps (N, in_channels, H, W) to (N, D * hidden_channels, H, W).

    A direction is a scan from one corner of the image. In each direction a pixel sees all pixels between it and the
    direction's corner, so four directions see the whole image. Nothing is masked or shifted. So the layer cannot
    generate images pixel by pixel. Images of a batch may have different sizes.

    The backward pass reads the output, unless ``merge`` is ``"sum"`` or ``"mean"``, see
    :class:`pixelrnn_ext.layers.RowLSTM`.

    With ``cell="pixelrnn", directions=1`` the layer equals :class:`pixelrnn_ext.layers.DiagonalLSTM` with
    ``mask_type=None``. With ``cell="pixelrnn", directions=("tl", "tr"), merge=None`` it returns the two maps that
    :class:`pixelrnn_ext.layers.DiagonalBiLSTM` shifts and adds. LSTM2d also loads the state_dicts of these layers.

    Args:
        in_channels, hidden_channels: number of channels of the input, and of each direction's state.
        cell: the name of a cell of :func:`pixelrnn_ext.functional.lstm2d`.
        directions: a number of directions or a tuple of different corners. 1 means ``"tl"``, 2 means ``"tl", "br"``,
            and 4 means ``"tl", "tr", "bl", "br"``.
        merge: as in :func:`pixelrnn_ext.functional.lstm2d`.
        peepholes: whether gates also read c, by peephole weights. Only the cells graves and halved allow this.
        bias: whether the layer has a bias.
        initial_state: as in :class:`pixelrnn_ext.layers.RowLSTM`, for each direction.
        forget_bias: initial bias of each forget gate. None means 1 for stable, halved and max, and -1 for graves. For
            pixelrnn it means a random bias, like those of its other gates. All biases of leaky start at zero.
        backend: as in :func:`pixelrnn_ext.functional.lstm2d`.
        device, dtype: device and dtype of the parameters.

    For a cell with G gates the parameters are ``weight_ih`` (G * hidden, in, 1, 1), ``weight_hh`` (G * hidden, hidden,
    2) with the taps (up, left), ``bias`` (G * hidden), ``h0`` and ``c0`` (hidden), ``peephole`` (4, hidden). Their
    names have the suffix ``_reverse`` for the corner ``"tr"``, ``_up`` for ``"bl"`` and ``_up_reverse`` for ``"br"``.

    Raises:
        TypeError, ValueError: an argument does not fit.

    Example:
        >>> layer = LSTM2d(in_channels=3, hidden_channels=32)
        >>> images = torch.randn(2, 3, 24, 40)
        >>> layer(images).shape
        torch.Size([2, 128, 24, 40])
        >>> layer(images, sizes=torch.tensor([[24, 40], [20, 13]]))[1, :, :, 13:].any()
        tensor(False)
    """

    if TYPE_CHECKING:

        def __call__(self, input: Tensor, sizes: Tensor | None = None, gate_bias: Tensor | None = None) -> Tensor: ...

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        *,
        cell: str = "stable",
        directions: int | tuple[str, ...] = 4,
        merge: str | None = "concat",
        peepholes: bool = False,
        bias: bool = True,
        initial_state: str = "zero",
        forget_bias: float | None = None,
        backend: str = "auto",
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        in_channels, hidden_channels = integers(in_channels=in_channels, hidden_channels=hidden_channels)
        check_cell(cell)
        corners = corners_of(directions)
        check_merge(merge)
        if peepholes:
            check_peepholes(cell)
        _check_forget_bias(forget_bias, cell, bias)
        suffixes, gates = [SUFFIXES[corner] for corner in corners], len(CELLS[cell].gates)
        rest = dict[str, Any](bias=bias, initial_state=initial_state, backend=backend, device=device, dtype=dtype)
        super().__init__(in_channels, hidden_channels, suffixes, gates=gates, taps=2, peepholes=peepholes, **rest)
        self.cell: str = cell
        self.directions: tuple[str, ...] = corners
        self.merge: str | None = merge
        self.peepholes: bool = bool(peepholes)
        self.forget_bias: float | None = CELLS[cell].forget_bias if forget_bias is None else float(forget_bias)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialises all parameters like the other recurrent layers, and then sets some biases.

        The biases of forget gates become ``forget_bias``, and all biases of the cell leaky become 0.
        """
        super().reset_parameters()
        kind = CELLS[self.cell]
        for direction in self._weights():
            if direction.bias is None:
                continue
            if kind.zero_bias:
                nn.init.zeros_(direction.bias)
            if self.forget_bias is not None:
                for gate in kind.forget_gates:
                    nn.init.constant_(direction.bias.view(len(kind.gates), -1)[gate], self.forget_bias)

    def forward(self, input: Tensor, sizes: Tensor | None = None, gate_bias: Tensor | None = None) -> Tensor:
        """Calls :func:`pixelrnn_ext.functional.lstm2d`, which describes the arguments."""
        return functional.lstm2d(
            input,
            self._weights(),
            cell=self.cell,
            corners=self.directions,
            gate_bias=gate_bias,
            sizes=sizes,
            merge=self.merge,
            backend=self.backend,
        )

    def extra_repr(self) -> str:
        peepholes = ", peepholes=True" if self.peepholes else ""
        bias = "bias=False" if self._weights()[0].bias is None else f"forget_bias={self.forget_bias}"
        return (
            f"{self.in_channels}, {self.hidden_channels}, cell={self.cell!r}, directions={self.directions}, "
            f"merge={self.merge!r}{peepholes}, {bias}, initial_state={self.initial_state!r}, backend={self.backend!r}"
        )

    def _weights(self) -> list[Direction2d]:
        suffixes = (SUFFIXES[corner] for corner in self.directions)
        return [Direction2d(*(getattr(self, name + end, None) for name in Direction2d._fields)) for end in suffixes]  # type: ignore[arg-type]


def _check_forget_bias(forget_bias: float | None, cell: str, bias: bool) -> None:
    if forget_bias is None:
        return
    check_number("forget_bias", forget_bias)
    if not math.isfinite(forget_bias):
        raise ValueError(f"expected a finite forget_bias, got {forget_bias}")
    if not CELLS[cell].forget_gates:
        raise ValueError(f"expected no forget_bias for cell {cell!r}, which has no forget gate, got {forget_bias}")
    if not bias:
        raise ValueError(f"expected no forget_bias for a layer without a bias, got {forget_bias}")
