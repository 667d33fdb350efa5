"""The layers of PixelRNN as modules (sections 3.2 to 3.4 of the paper), used like torch.nn.Conv2d."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.types import Device

from . import functional
from ._arguments import check_dtype, integers, odd_sides
from .masks import check_colour_groups, check_mask_type
from .operators import backends
from .operators.scan.packing import Packed


class Recurrent(nn.Module):
    """Base class of the recurrent layers, which holds their parameters.

    A parameter's name ends in the suffix of its direction, such as ``_reverse``.
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        suffixes: Iterable[str],
        *,
        gates: int,
        taps: int,
        kernel_size: int = 1,
        peepholes: bool = False,
        bias: bool,
        initial_state: str,
        backend: str,
        device: Device,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        if initial_state not in ("zero", "learned"):
            raise ValueError(f"expected initial_state to be 'zero' or 'learned', got {initial_state!r}")
        backends.check_name(backend)
        check_dtype("dtype", dtype)
        self.in_channels: int = in_channels
        self.hidden_channels: int = hidden_channels
        self.initial_state: str = initial_state
        self.backend: str = backend
        rows, state = gates * hidden_channels, (hidden_channels,) if initial_state == "learned" else None
        shapes: dict[str, tuple[int, ...] | None] = {
            "weight_ih": (rows, in_channels, 1, kernel_size),
            "weight_hh": (rows, hidden_channels, taps),
            "bias": (rows,) if bias else None,
            "h0": state,
            "c0": state,
        }
        if peepholes:
            shapes["peephole"] = 4, hidden_channels
        for suffix in suffixes:
            for name, shape in shapes.items():
                parameter = None if shape is None else nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
                self.register_parameter(name + suffix, parameter)

    def reset_parameters(self) -> None:
        """Draws weights and biases uniformly from [-b, b] with b = 1 / sqrt(hidden_channels), as torch.nn.LSTM does.

        Learned initial states and peephole weights start at zero.
        """
        bound = self.hidden_channels**-0.5
        for name, parameter in self.named_parameters(recurse=False):
            if name.startswith(("h0", "c0", "peephole")):
                nn.init.zeros_(parameter)
            else:
                nn.init.uniform_(parameter, -bound, bound)


class _LineLSTM(Recurrent):
    """Base class of the paper's recurrent layers. ``_suffixes`` are the suffixes of its directions."""

    _suffixes: tuple[str, ...] = ("",)
    _names = ("weight_ih", "weight_hh", "bias", "h0", "c0")
    _diagonal = True
    _run: Callable[..., Tensor]
    weight_ih: nn.Parameter
    weight_hh: nn.Parameter
    bias: nn.Parameter | None
    h0: nn.Parameter | None
    c0: nn.Parameter | None

    # This declaration tells type checkers what a call returns, because nn.Module annotates the result of a call as Any.
    if TYPE_CHECKING:

        def __call__(
            self,
            input: Tensor,
            gate_bias: Tensor | None = None,
            sizes: Tensor | None = None,
            *,
            packed: Packed | None = None,
        ) -> Tensor: ...

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        kernel_size: int = 3,
        *,
        image_channels: int = 1,
        mask_type: str | None = "B",
        bias: bool = True,
        initial_state: str = "zero",
        backend: str = "auto",
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        in_channels, hidden_channels, kernel_size, image_channels = integers(
            in_channels=in_channels,
            hidden_channels=hidden_channels,
            kernel_size=kernel_size,
            image_channels=image_channels,
        )
        odd_sides(kernel_size)  # raises ValueError if it is even
        check_mask_type(mask_type, optional=True)
        check_colour_groups(in_channels, image_channels)
        check_colour_groups(hidden_channels, image_channels)
        rest = dict[str, Any](bias=bias, initial_state=initial_state, backend=backend, device=device, dtype=dtype)
        taps = 2 if self._diagonal else kernel_size
        super().__init__(
            in_channels, hidden_channels, self._suffixes, gates=4, taps=taps, kernel_size=kernel_size, **rest
        )
        self.kernel_size: int = kernel_size
        self.image_channels: int = image_channels
        self.mask_type: str | None = mask_type
        self.reset_parameters()

    def extra_repr(self) -> str:
        width = "" if self.kernel_size == 1 else f", kernel_size={self.kernel_size}"
        bias = "" if self.bias is not None else ", bias=False"
        return (
            f"{self.in_channels}, {self.hidden_channels}{width}, image_channels={self.image_channels}, "
            f"mask_type={self.mask_type!r}{bias}, initial_state={self.initial_state!r}, backend={self.backend!r}"
        )

    @property
    def directions(self) -> list[functional.Direction2d]:
        """The parameters of each direction."""
        return [
            functional.Direction2d(*(getattr(self, name + suffix) for name in self._names)) for suffix in self._suffixes
        ]

    def forward(
        self,
        input: Tensor,
        gate_bias: Tensor | None = None,
        sizes: Tensor | None = None,
        *,
        packed: Packed | None = None,
    ) -> Tensor:
        """Calls the layer's function in :mod:`pixelrnn_ext.functional`, which describes the arguments.

        A model may give the layer's parameters again as ``packed``, see operators/scan/packing.py.
        """
        more = {} if packed is None else dict(packed=packed)
        return self._run(
            input,
            **{name + suffix: getattr(self, name + suffix) for suffix in self._suffixes for name in self._names},
            **more,
            gate_bias=gate_bias,
            sizes=sizes,
            mask_type=self.mask_type,
            image_channels=self.image_channels,
            backend=self.backend,
        )


class RowLSTM(_LineLSTM):
    """Row LSTM layer (section 3.2): maps (N, in_channels, H, W) to (N, hidden_channels, H, W).

    A pixel sees the triangle of pixels above it, and ``kernel_size // 2`` input pixels to its left. With
    ``kernel_size=1`` and ``mask_type=None`` the layer is torch.nn.LSTM applied down every column.

    The backward pass reads the layer's output, so an activation after this layer must not overwrite it: use
    ``nn.ReLU()``, not ``nn.ReLU(inplace=True)``.

    On a GPU, float32 follows nn.LSTM's setting of tf32, ``torch.backends.cudnn.rnn.fp32_precision``
    (:mod:`pixelrnn_ext.functional`).

    Args:
        in_channels, hidden_channels: number of channels of the input, and of the state, which is also the output.
        kernel_size: odd width of the input-to-state convolution and of the state-to-state convolution.
        image_channels: number of colours that the channels are divided into, 1 for gray, 3 for RGB.
        mask_type: ``"B"`` or ``"A"`` masks the input-to-state convolution (section 3.4); None leaves it unmasked.
        bias: whether the layer has a bias.
        initial_state: the state of the cells outside the image: ``"zero"``, or ``"learned"`` (h0 and c0 are
            parameters).
        backend: as in :func:`pixelrnn_ext.functional.row_lstm`.
        device, dtype: device and dtype of the parameters.

    The parameters have the gates in the order i, f, g, o. With k for ``kernel_size`` they are ``weight_ih`` (4 *
    hidden, in, 1, k), ``weight_hh`` (4 * hidden, hidden, k) with the taps from left to right, ``bias`` (4 * hidden),
    ``h0`` and ``c0`` (hidden).

    Raises:
        TypeError, ValueError: an argument does not fit.

    Example:
        >>> layer = RowLSTM(in_channels=64, hidden_channels=32)
        >>> layer(torch.randn(16, 64, 28, 28)).shape
        torch.Size([16, 32, 28, 28])
    """

    _diagonal = False
    _run = staticmethod(functional.row_lstm)


class DiagonalLSTM(_LineLSTM):
    """One direction of the Diagonal BiLSTM (section 3.3): maps (N, in_channels, H, W) to (N, hidden_channels, H, W).

    A pixel sees the rectangle of pixels from the top left corner of the image to the pixel itself. With
    ``reverse=True`` the rectangle begins at the top right corner, and the layer is causal in mirrored order, not in
    raster order.

    The backward pass reads the layer's output, see :class:`RowLSTM`.

    Args:
        in_channels, hidden_channels: as in :class:`RowLSTM`.
        reverse: whether to scan from right to left.
        image_channels, mask_type, bias, initial_state, backend, device, dtype: as in :class:`RowLSTM`.

    The parameters are those of :class:`RowLSTM`, but ``weight_ih`` is (4 * hidden, in, 1, 1), and ``weight_hh`` is (4 *
    hidden, hidden, 2) with the taps (above, left).

    Raises:
        TypeError, ValueError: an argument does not fit.

    Example:
        >>> layer = DiagonalLSTM(in_channels=64, hidden_channels=32)
        >>> layer(torch.randn(16, 64, 28, 28)).shape
        torch.Size([16, 32, 28, 28])
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        *,
        reverse: bool = False,
        image_channels: int = 1,
        mask_type: str | None = "B",
        bias: bool = True,
        initial_state: str = "zero",
        backend: str = "auto",
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        rest = dict[str, Any](bias=bias, initial_state=initial_state, backend=backend, device=device, dtype=dtype)
        super().__init__(in_channels, hidden_channels, 1, image_channels=image_channels, mask_type=mask_type, **rest)
        self.reverse: bool = reverse

    def _run(self, input: Tensor, **arguments: Any) -> Tensor:
        return functional.diagonal_lstm(input, reverse=self.reverse, **arguments)

    def extra_repr(self) -> str:
        return super().extra_repr() + f", reverse={self.reverse}"


class DiagonalBiLSTM(_LineLSTM):
    """Diagonal BiLSTM layer (section 3.3): maps (N, in_channels, H, W) to (N, hidden_channels, H, W).

    A pixel sees every earlier pixel in raster order and no later one. The output is the sum of a left-to-right scan,
    and of a right-to-left scan that is shifted down by one row. With two :class:`DiagonalLSTM` layers, of which
    ``right`` has ``reverse=True``, the output is ``left(x) + F.pad(right(x)[:, :, :-1], (0, 0, 1, 0))``.

    The backward pass does not read the output, so an activation after this layer may work in place.

    Args:
        in_channels, hidden_channels, image_channels, mask_type, bias, initial_state, backend, device, dtype: as in
            :class:`RowLSTM`.

    The left-to-right scan has the parameters of :class:`DiagonalLSTM`. The right-to-left scan has the same parameters,
    with the suffix ``_reverse``.

    Raises:
        TypeError, ValueError: an argument does not fit.

    Example:
        >>> layer = DiagonalBiLSTM(in_channels=64, hidden_channels=64)
        >>> layer(torch.randn(16, 64, 28, 28)).shape
        torch.Size([16, 64, 28, 28])
    """

    _suffixes = ("", "_reverse")
    _run = staticmethod(functional.diagonal_bilstm)
    weight_ih_reverse: nn.Parameter
    weight_hh_reverse: nn.Parameter
    bias_reverse: nn.Parameter | None
    h0_reverse: nn.Parameter | None
    c0_reverse: nn.Parameter | None

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        *,
        image_channels: int = 1,
        mask_type: str | None = "B",
        bias: bool = True,
        initial_state: str = "zero",
        backend: str = "auto",
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        rest = dict[str, Any](bias=bias, initial_state=initial_state, backend=backend, device=device, dtype=dtype)
        super().__init__(in_channels, hidden_channels, 1, image_channels=image_channels, mask_type=mask_type, **rest)


class MaskedConv2d(nn.Module):
    """Masked convolution layer (sections 2.2 and 3.4): maps (N, in_channels, H, W) to (N, out_channels, H, W).

    The stride is 1, and the input is padded by zeros, so the output has the height and width of the input. The mask is
    applied in every forward pass, so neither training nor a checkpoint can undo it.

    An activation after this layer may work in place, unless the layer has its own ReLU, whose backward pass reads the
    output.

    On a GPU, float32 follows nn.Conv2d's setting of tf32, ``torch.backends.cudnn.conv.fp32_precision``
    (:mod:`pixelrnn_ext.functional`).

    Args:
        in_channels, out_channels: number of channels of the input, and of the output.
        kernel_size: an odd integer, or (height, width) of two odd integers.
        mask_type: ``"A"`` for a model's first layer, ``"B"`` for all others.
        image_channels: number of colours that the channels are divided into, 1 for gray, 3 for RGB.
        bias: whether the layer has a bias.
        activation: ``"relu"`` or None.
        backend: as in :func:`pixelrnn_ext.functional.masked_conv2d`, which the layer calls.
        device, dtype: device and dtype of the parameters.

    The parameters are ``weight`` (out, in, kh, kw) and ``bias`` (out). They have the shapes, names and initialisation
    of torch.nn.Conv2d, so a checkpoint of either layer loads into the other.

    Raises:
        TypeError, ValueError: an argument does not fit.

    Example:
        >>> layer = MaskedConv2d(3, 64, 7, "A", image_channels=3)
        >>> layer(torch.randn(16, 3, 32, 32)).shape
        torch.Size([16, 64, 32, 32])
    """

    bias: nn.Parameter | None

    if TYPE_CHECKING:

        def __call__(self, input: Tensor) -> Tensor: ...

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        mask_type: str,
        *,
        image_channels: int = 1,
        bias: bool = True,
        activation: str | None = None,
        backend: str = "auto",
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        size = odd_sides(kernel_size)
        in_channels, out_channels, image_channels = integers(
            in_channels=in_channels, out_channels=out_channels, image_channels=image_channels
        )
        functional.check_masked_conv2d_options(mask_type, activation)
        check_colour_groups(in_channels, image_channels)
        check_colour_groups(out_channels, image_channels)
        backends.check_name(backend, backends.CONVOLUTION_BACKENDS)
        check_dtype("dtype", dtype)
        self.in_channels: int = in_channels
        self.out_channels: int = out_channels
        self.kernel_size: tuple[int, int] = size
        self.mask_type: str = mask_type
        self.image_channels: int = image_channels
        self.activation: str | None = activation
        self.backend: str = backend
        weight = torch.empty(out_channels, in_channels, *size, device=device, dtype=dtype)
        self.weight: nn.Parameter = nn.Parameter(weight)
        self.register_parameter("bias", nn.Parameter(weight.new_empty(out_channels)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialises the parameters as torch.nn.Conv2d does."""
        nn.Conv2d.reset_parameters(self)  # type: ignore[arg-type]

    def forward(self, input: Tensor) -> Tensor:
        return functional.masked_conv2d(
            input,
            self.weight,
            self.bias,
            self.mask_type,
            image_channels=self.image_channels,
            activation=self.activation,
            backend=self.backend,
        )

    def extra_repr(self) -> str:
        bias = "" if self.bias is not None else ", bias=False"
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, mask_type={self.mask_type!r}, "
            f"image_channels={self.image_channels}{bias}, activation={self.activation!r}, backend={self.backend!r}"
        )
