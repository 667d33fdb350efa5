"""PixelRNN and PixelCNN (table 1 of the paper): first layer, blocks, residual and skip connections, head."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from .. import sampling
from .._arguments import integer, odd_sides
from .._recordable import Recorded
from ..incremental import recording
from ..layers import MaskedConv2d
from ..likelihood import logit_channels
from ..operators import backends
from .autoregressive import AutoregressiveModel, head_channels_of
from .blocks import ConvolutionalBlock, Head, RecurrentBlock, masked_conv


class _Stack(AutoregressiveModel):
    blocks: nn.ModuleList
    _block: Callable[..., nn.Module]

    def __init__(
        self,
        *,
        image_channels: int,
        levels: int,
        hidden_channels: int,
        num_layers: int,
        head_channels: int | None = None,
        kernel_size: int = 3,
        residual: bool = True,
        skip: bool = False,
        condition_channels: int = 0,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        self.levels: int = integer("levels", levels, 2)
        self.condition_channels: int = integer("condition_channels", condition_channels, 0)
        self.image_channels: int = integer("image_channels", image_channels)
        self.hidden_channels: int = integer("hidden_channels", hidden_channels)
        self.num_layers: int = integer("num_layers", num_layers)
        self.head_channels: int = integer("head_channels", head_channels_of(head_channels, self.levels))
        self.kernel_size: int = integer("kernel_size", kernel_size)
        odd_sides(self.kernel_size)  # checks it
        for name, value in (("residual", residual), ("skip", skip)):
            if not isinstance(value, bool):
                raise TypeError(f"expected {name} to be a bool, got {type(value).__name__}")
        backends.check_name(backend)
        self.residual: bool = residual
        self.skip: bool = skip
        self.backend: str = backend
        options: dict[str, Any] = dict(image_channels=self.image_channels, backend=backend)
        width = 2 * self.hidden_channels
        self.first: MaskedConv2d = masked_conv(self.image_channels, width, 7, "A", **options)
        block = dict(kernel_size=self.kernel_size, condition_channels=self.condition_channels, **options)
        self.blocks = nn.ModuleList(self._block(self.hidden_channels, **block) for _ in range(self.num_layers))
        skips = self.num_layers if skip else 0
        self.skips: nn.ModuleList = nn.ModuleList(masked_conv(width, width, 1, "B", **options) for _ in range(skips))
        self.head: Head = Head(width, self.head_channels, logit_channels(self.levels), **options)

    def forward(self, images: Tensor, condition: Tensor | None = None, *, check: bool = True) -> Tensor:
        """Returns the logits of every value, (N, levels, C, H, W), or with two levels (N, 1, C, H, W) for the value 1.

        Arguments and errors as in :meth:`.log_prob`.
        """
        if isinstance(images, Recorded):
            return self._by_level(self.logit_map(self.scaled(images), condition))
        self._check_inputs(images, condition, check)
        # Gives x the strides of channels_last, in which the recurrent layers compute. torch.vmap does not support
        # torch.channels_last. Without the clone, a map of one channel would keep its strides.
        x = self.scaled(images).permute(0, 2, 3, 1).clone(memory_format=torch.contiguous_format).permute(0, 3, 1, 2)
        return self._by_level(self.logit_map(x, None if condition is None else condition.to(x.dtype)))

    def incremental_logits(self, images: Tensor, condition: Tensor | None = None, *, check: bool = True) -> Tensor:
        """Returns the logits of :meth:`forward`, computed pixel by pixel as in sampling."""
        self._check_inputs(images, condition, check)
        return self._by_level(sampling.logit_map(self, images, condition))

    def _by_level(self, logits: Tensor) -> Tensor:
        if isinstance(logits, Recorded):
            return recording.record_logits(logits)
        return logits.unflatten(1, (self.image_channels, -1)).transpose(1, 2)

    def logit_map(self, x: Tensor, condition: Tensor | None) -> Tensor:
        """Returns a map of logits for scaled images. Its channels are grouped by colour.

        This is the network, made of layers and pointwise arithmetic. Sampling records it and runs it pixel by pixel.
        """
        y, skipped = self.first(x), None
        for i, block in enumerate(self.blocks):
            update = block(y, condition)
            y = y + update if self.residual else update
            if self.skip:
                contribution = self.skips[i](y)
                skipped = contribution if skipped is None else skipped + contribution
        return self.head(y if skipped is None else skipped)


class PixelRNN(_Stack):
    """PixelRNN (section 3): a 7x7 mask A convolution, blocks of Row LSTMs or Diagonal BiLSTMs, a softmax per value.

    Args:
        layer: ``"row"`` or ``"diagonal"``.
        image_channels: 1 for gray, 3 for RGB. A pixel's values are modelled in this channel order.
        levels: a value is an integer in [0, levels); with 2 levels it has a Bernoulli distribution.
        hidden_channels: h of the recurrent layers; the maps between them have 2h channels.
        num_layers: number of recurrent layers.
        head_channels: channels of the two 1x1 convolutions before the logits, by default 32 with two levels, else 1024
            (table 1).
        kernel_size: kernel size of the Row LSTM.
        residual: adds each block's input to its output (section 3.5).
        skip: the head reads the sum of 1x1 convolutions of all blocks' outputs, not the last output (section 3.5).
        initial_state: ``"learned"`` or ``"zero"``, the state outside the image.
        condition_channels: channels of a condition, which an unmasked 1x1 convolution adds to every layer's gates
            (section 3.6).
        backend: backend of the recurrent layers, see :func:`pixelrnn_ext.functional.row_lstm`. Convolutions use
            ``"native"`` instead of ``"step"`` and ``"resident"``.

    Raises:
        TypeError, ValueError: an argument does not fit.

    Example:
        >>> model = PixelRNN("diagonal", image_channels=1, levels=2, hidden_channels=16, num_layers=7, head_channels=32)
        >>> model.log_prob(torch.randint(2, (16, 1, 28, 28))).shape
        torch.Size([16])
    """

    layer: str
    initial_state: str

    def __init__(
        self,
        layer: str,
        *,
        image_channels: int,
        levels: int,
        hidden_channels: int,
        num_layers: int,
        head_channels: int | None = None,
        kernel_size: int = 3,
        residual: bool = True,
        skip: bool = False,
        initial_state: str = "learned",
        condition_channels: int = 0,
        backend: str = "auto",
    ) -> None:
        if layer not in ("row", "diagonal"):
            raise ValueError(f"expected layer to be 'row' or 'diagonal', got {layer!r}")
        self.layer, self.initial_state = layer, initial_state  # read by _block in super().__init__
        data = dict[str, Any](image_channels=image_channels, levels=levels, condition_channels=condition_channels)
        sizes = dict[str, Any](hidden_channels=hidden_channels, num_layers=num_layers, head_channels=head_channels)
        super().__init__(**data, **sizes, kernel_size=kernel_size, residual=residual, skip=skip, backend=backend)

    def _block(self, hidden_channels: int, **options: Any) -> nn.Module:
        return RecurrentBlock(self.layer, hidden_channels, initial_state=self.initial_state, **options)


class PixelCNN(_Stack):
    """PixelCNN (section 3.4): a :class:`PixelRNN` with blocks of masked convolutions. It has a blind spot.

    Args:
        kernel_size: kernel size of the blocks' spatial convolution.
        condition_channels: channels of a condition, which an unmasked 1x1 convolution adds to the map after every
            spatial convolution.

    The other arguments and the errors are as in :class:`PixelRNN`.

    Example:
        >>> model = PixelCNN(image_channels=3, levels=256, hidden_channels=16, num_layers=2, head_channels=32)
        >>> model(torch.randint(256, (2, 3, 8, 8))).shape
        torch.Size([2, 256, 3, 8, 8])
    """

    _block = ConvolutionalBlock
