"""Parts of the models (table 1 and figure 5 of the paper): blocks, and the head, which computes the logits.

A block maps 2h channels to 2h channels, through layers of h channels. ``options`` are ``image_channels`` and
``backend``.
"""

from typing import Any

from torch import Tensor, nn

from ..layers import DiagonalBiLSTM, MaskedConv2d, RowLSTM
from ..operators import backends
from ..operators.scan.packing import Packed


def masked_conv(*arguments: Any, backend: str, **options: Any) -> MaskedConv2d:
    return MaskedConv2d(*arguments, backend=backends.convolution_backend(backend), **options)


class RecurrentBlock(nn.Module):
    """A block of a PixelRNN (figure 5, right): a Row LSTM or Diagonal BiLSTM, then a 1x1 convolution.

    A condition is added to the gates of the LSTM (section 3.6).
    """

    layer: RowLSTM | DiagonalBiLSTM
    condition: nn.Conv2d | None

    def __init__(
        self,
        layer: str,
        hidden_channels: int,
        *,
        kernel_size: int,
        initial_state: str,
        condition_channels: int,
        **options: Any,
    ) -> None:
        super().__init__()
        sizes = 2 * hidden_channels, hidden_channels
        if layer == "row":
            self.layer = RowLSTM(*sizes, kernel_size, initial_state=initial_state, **options)
        else:
            self.layer = DiagonalBiLSTM(*sizes, initial_state=initial_state, **options)
        gates = (4 if layer == "row" else 8) * hidden_channels
        self.condition = nn.Conv2d(condition_channels, gates, 1, bias=False) if condition_channels else None
        self.output: MaskedConv2d = masked_conv(hidden_channels, 2 * hidden_channels, 1, "B", **options)

    def forward(self, x: Tensor, condition: Tensor | None, *, packed: Packed | None = None) -> Tensor:
        gate_bias = None if self.condition is None else self.condition(condition)
        return self.output(self.layer(x, gate_bias) if packed is None else self.layer(x, gate_bias, packed=packed))


class ConvolutionalBlock(nn.Module):
    """A block of a PixelCNN (figure 5, left): a 1x1, a k x k and a 1x1 convolution, each after a ReLU.

    A condition is added after the k x k convolution.
    """

    reduce: MaskedConv2d
    condition: nn.Conv2d | None

    def __init__(self, hidden_channels: int, *, kernel_size: int, condition_channels: int, **options: Any) -> None:
        super().__init__()
        self.reduce = masked_conv(2 * hidden_channels, hidden_channels, 1, "B", activation="relu", **options)
        self.layer: MaskedConv2d = masked_conv(hidden_channels, hidden_channels, kernel_size, "B", **options)
        self.condition = nn.Conv2d(condition_channels, hidden_channels, 1, bias=False) if condition_channels else None
        self.output: MaskedConv2d = masked_conv(hidden_channels, 2 * hidden_channels, 1, "B", **options)

    def forward(self, x: Tensor, condition: Tensor | None) -> Tensor:
        y = self.layer(self.reduce(x.relu()))
        if self.condition is not None:
            y = y + self.condition(condition)
        return self.output(y.relu())


class Head(nn.Sequential):
    """The last layers of a model, which compute the logits, grouped by colour."""

    def __init__(self, in_channels: int, head_channels: int, logits: int, **options: Any) -> None:
        super().__init__(
            nn.ReLU(),
            masked_conv(in_channels, head_channels, 1, "B", activation="relu", **options),
            masked_conv(head_channels, head_channels, 1, "B", **options),
            masked_conv(head_channels, options["image_channels"] * logits, 1, "B", **options),
        )
