"""What the models are stacked from (table 1 and figure 5 of the paper): blocks of 2h channels around a layer of h, and
the head."""

from typing import TypedDict

from torch import Tensor, nn

from ..layers import DiagonalBiLSTM, MaskedConv2d, RowLSTM
from ..operators import backends

RECURRENT_LAYERS = ("row", "diagonal")


class SharedOptions(TypedDict):
    """What all layers of a model have in common."""

    image_channels: int
    backend: str


def masked_conv(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    mask_type: str,
    *,
    image_channels: int,
    backend: str,
    activation: str | None = None,
) -> MaskedConv2d:
    """A masked convolution with a model's backend."""
    return MaskedConv2d(
        in_channels,
        out_channels,
        kernel_size,
        mask_type,
        image_channels=image_channels,
        activation=activation,
        backend=backends.of_convolutions(backend),
    )


class RecurrentBlock(nn.Module):
    """2h -> Row LSTM or Diagonal BiLSTM (h) -> 1x1 -> 2h (figure 5, right); a condition goes into the gates (section
    3.6)."""

    layer: RowLSTM | DiagonalBiLSTM
    condition: nn.Conv2d | None
    output: MaskedConv2d

    def __init__(
        self,
        layer: str,
        hidden_channels: int,
        *,
        kernel_size: int,
        initial_state: str,
        image_channels: int,
        condition_channels: int,
        backend: str,
    ) -> None:
        super().__init__()
        options = SharedOptions(image_channels=image_channels, backend=backend)
        if layer == "row":
            self.layer = RowLSTM(
                2 * hidden_channels, hidden_channels, kernel_size, initial_state=initial_state, **options
            )
        else:
            self.layer = DiagonalBiLSTM(2 * hidden_channels, hidden_channels, initial_state=initial_state, **options)
        gates = (4 if layer == "row" else 8) * hidden_channels
        self.condition = nn.Conv2d(condition_channels, gates, 1, bias=False) if condition_channels else None
        self.output = masked_conv(hidden_channels, 2 * hidden_channels, 1, "B", **options)

    def forward(self, x: Tensor, condition: Tensor | None) -> Tensor:
        gate_bias = None if self.condition is None else self.condition(condition)
        return self.output(self.layer(x, gate_bias))


class ConvolutionalBlock(nn.Module):
    """2h -> ReLU, 1x1 -> h -> ReLU, k x k -> h -> ReLU, 1x1 -> 2h (figure 5, left); a condition is added after the k x
    k."""

    reduce: MaskedConv2d
    layer: MaskedConv2d
    condition: nn.Conv2d | None
    output: MaskedConv2d

    def __init__(
        self, hidden_channels: int, *, kernel_size: int, image_channels: int, condition_channels: int, backend: str
    ) -> None:
        super().__init__()
        options = SharedOptions(image_channels=image_channels, backend=backend)
        self.reduce = masked_conv(2 * hidden_channels, hidden_channels, 1, "B", activation="relu", **options)
        self.layer = masked_conv(hidden_channels, hidden_channels, kernel_size, "B", **options)
        self.condition = nn.Conv2d(condition_channels, hidden_channels, 1, bias=False) if condition_channels else None
        self.output = masked_conv(hidden_channels, 2 * hidden_channels, 1, "B", **options)

    def forward(self, x: Tensor, condition: Tensor | None) -> Tensor:
        y = self.layer(self.reduce(x.relu()))
        if self.condition is not None:
            y = y + self.condition(condition)
        return self.output(y.relu())


class Head(nn.Sequential):
    """Two times ReLU and 1x1, then a 1x1 to the logits, a colour's adjacent."""

    def __init__(self, in_channels: int, head_channels: int, logits: int, *, image_channels: int, backend: str) -> None:
        options = SharedOptions(image_channels=image_channels, backend=backend)
        super().__init__(
            nn.ReLU(),
            masked_conv(in_channels, head_channels, 1, "B", activation="relu", **options),
            masked_conv(head_channels, head_channels, 1, "B", **options),
            masked_conv(head_channels, image_channels * logits, 1, "B", **options),
        )
