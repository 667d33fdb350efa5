"""What the models are stacked from (table 1 and figure 5 of the paper): blocks of 2h channels around a layer of h, and the head."""

from torch import Tensor, nn

from ..layers import DiagonalBiLSTM, MaskedConv2d, RowLSTM
from ..operators import backends

RECURRENT_LAYERS = ("row", "diagonal")


def masked_conv(in_channels, out_channels, kernel_size, mask_type, *, image_channels, backend, **options) -> MaskedConv2d:
    """A masked convolution with a model's backend."""
    backend = backends.of_convolutions(backend)
    return MaskedConv2d(
        in_channels, out_channels, kernel_size, mask_type, image_channels=image_channels, backend=backend, **options
    )


class RecurrentBlock(nn.Module):
    """2h -> Row LSTM or Diagonal BiLSTM (h) -> 1x1 -> 2h (figure 5, right); a condition goes into the gates (section 3.6)."""

    def __init__(self, layer, hidden_channels, *, kernel_size, initial_state, image_channels, condition_channels, backend):
        super().__init__()
        options = dict(image_channels=image_channels, initial_state=initial_state, backend=backend)
        if layer == "row":
            self.layer = RowLSTM(2 * hidden_channels, hidden_channels, kernel_size, **options)
        else:
            self.layer = DiagonalBiLSTM(2 * hidden_channels, hidden_channels, **options)
        gates = (4 if layer == "row" else 8) * hidden_channels
        self.condition = nn.Conv2d(condition_channels, gates, 1, bias=False) if condition_channels else None
        self.output = masked_conv(
            hidden_channels, 2 * hidden_channels, 1, "B", image_channels=image_channels, backend=backend
        )

    def forward(self, x: Tensor, condition: Tensor | None) -> Tensor:
        gate_bias = None if self.condition is None else self.condition(condition)
        return self.output(self.layer(x, gate_bias))


class ConvolutionalBlock(nn.Module):
    """2h -> ReLU, 1x1 -> h -> ReLU, k x k -> h -> ReLU, 1x1 -> 2h (figure 5, left); a condition is added after the k x k."""

    def __init__(self, hidden_channels, *, kernel_size, image_channels, condition_channels, backend):
        super().__init__()
        options = dict(image_channels=image_channels, backend=backend)
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

    def __init__(self, in_channels, head_channels, logits, *, image_channels, backend):
        options = dict(image_channels=image_channels, backend=backend)
        super().__init__(
            nn.ReLU(),
            masked_conv(in_channels, head_channels, 1, "B", activation="relu", **options),
            masked_conv(head_channels, head_channels, 1, "B", **options),
            masked_conv(head_channels, image_channels * logits, 1, "B", **options),
        )
