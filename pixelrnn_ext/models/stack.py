"""PixelRNN and PixelCNN (table 1 of the paper): first layer, blocks, residual and skip connections, and a head."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from .. import sampling
from .._arguments import integer, odd_sides
from .._dynamo import never_compiled
from .._recordable import Recorded
from ..incremental import recording
from ..layers import MaskedConv2d
from ..likelihood import logit_channels
from ..operators import backends
from .autoregressive import AutoregressiveModel, head_channels_of
from .blocks import ConvolutionalBlock, Head, RecurrentBlock, masked_conv
from .packed_parameters import PackedParameters


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
        odd_sides(self.kernel_size)  # raises ValueError if it is even
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
        self._packed = PackedParameters()
        self.skips: nn.ModuleList = nn.ModuleList(masked_conv(width, width, 1, "B", **options) for _ in range(skips))
        self.head: Head = Head(width, self.head_channels, logit_channels(self.levels), **options)

    def forward(self, images: Tensor, condition: Tensor | None = None, *, check: bool = True) -> Tensor:
        """Returns the logits of every value, (N, levels, C, H, W).

        With two levels they are (N, 1, C, H, W), the logit of the value 1. The arguments and errors are those of
        :meth:`.log_prob`.
        """
        if isinstance(images, Recorded):
            return self._by_level(self.logit_map(self.scaled(images), condition))
        self._check_inputs(images, condition, check)
        # Gives x the strides of channels_last. torch.vmap does not support memory_format=channels_last, and
        # contiguous() would keep the strides of a one-channel map.
        pixels = images.permute(0, 2, 3, 1).to(next(self.parameters()).dtype, memory_format=torch.contiguous_format)
        x = self.scaled(pixels).permute(0, 3, 1, 2)
        return self._by_level(self.logit_map(x, None if condition is None else condition.to(x.dtype)))

    @never_compiled
    def incremental_logits(self, images: Tensor, condition: Tensor | None = None, *, check: bool = True) -> Tensor:
        """Returns the same logits as :meth:`forward`, but computes the network pixel by pixel, as sampling does."""
        self._check_inputs(images, condition, check)
        return self._by_level(sampling.logit_map(self, images, condition))

    def _by_level(self, logits: Tensor) -> Tensor:
        if isinstance(logits, Recorded):
            return recording.record_logits(logits)
        return logits.unflatten(1, (self.image_channels, -1)).transpose(1, 2)

    def logit_map(self, x: Tensor, condition: Tensor | None) -> Tensor:
        """Returns the logits of images x in [-1, 1], as a feature map whose channels are grouped by colour.

        Consists of layers and pointwise arithmetic alone, so that sampling can run it pixel by pixel.
        """
        y, skipped = self.first(x), None
        packed = self._packed(self.blocks, self.backend, x)
        for i, block in enumerate(self.blocks):
            update = block(y, condition, packed=packed[i]) if packed else block(y, condition)
            y = y + update if self.residual else update
            if self.skip:
                contribution = self.skips[i](y)
                skipped = contribution if skipped is None else skipped + contribution
        return self.head(y if skipped is None else skipped)


class PixelRNN(_Stack):
    """PixelRNN (section 3), a model of images with recurrent layers.

    It is a 7x7 convolution with mask A, then blocks of Row LSTMs or Diagonal BiLSTMs, then a head that computes the
    logits of each value's softmax.

    Args:
        layer: ``"row"`` for Row LSTMs, or ``"diagonal"`` for Diagonal BiLSTMs.
        image_channels: number of colours, 1 for gray, 3 for RGB. A pixel's values are modelled in channel order.
        levels: number of possible values. A value is an integer in [0, levels). With 2 levels it has a Bernoulli
            distribution.
        hidden_channels: number h of channels of the recurrent layers. The feature maps between the blocks have 2h
            channels.
        num_layers: number of recurrent layers.
        head_channels: number of channels of the two 1x1 convolutions before the logits. The default is 32 with two
            levels, else 1024 (table 1).
        kernel_size: kernel size of the Row LSTM.
        residual: whether each block's input is added to its output (section 3.5).
        skip: whether the head reads the sum of 1x1 convolutions of all blocks' outputs, not the last output (section
            3.5).
        initial_state: state of the recurrent layers outside the image, ``"learned"`` or ``"zero"``.
        condition_channels: number of channels of a condition. An unmasked 1x1 convolution of the condition is added to
            every recurrent layer's gates (section 3.6).
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
        # These attributes are set before super().__init__ runs, because it calls _block, which reads the attributes.
        self.layer, self.initial_state = layer, initial_state
        data = dict[str, Any](image_channels=image_channels, levels=levels, condition_channels=condition_channels)
        sizes = dict[str, Any](hidden_channels=hidden_channels, num_layers=num_layers, head_channels=head_channels)
        super().__init__(**data, **sizes, kernel_size=kernel_size, residual=residual, skip=skip, backend=backend)

    def _block(self, hidden_channels: int, **options: Any) -> nn.Module:
        return RecurrentBlock(self.layer, hidden_channels, initial_state=self.initial_state, **options)


class PixelCNN(_Stack):
    """PixelCNN (section 3.4): a :class:`PixelRNN` whose blocks have masked convolutions instead of recurrent layers.

    It has a blind spot: some earlier pixels do not influence a pixel, however many blocks there are.

    Args:
        kernel_size: kernel size of the k x k convolution of each block.
        condition_channels: number of channels of a condition. An unmasked 1x1 convolution of the condition is added to
            the map after the k x k convolution of each block.

    The other arguments and the errors are those of :class:`PixelRNN`.

    Example:
        >>> model = PixelCNN(image_channels=3, levels=256, hidden_channels=16, num_layers=2, head_channels=32)
        >>> model(torch.randint(256, (2, 3, 8, 8))).shape
        torch.Size([2, 256, 3, 8, 8])
    """

    _block = ConvolutionalBlock
