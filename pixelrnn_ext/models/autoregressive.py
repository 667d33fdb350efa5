"""What all models share: images in, likelihoods, logits and samples out."""

import inspect
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes

from .. import likelihood, sampling
from .._recordable import Recorded
from ..codec import Codec
from ..incremental import recording
from ..operators.operands import check_dense, check_integers, check_levels, check_memory, readable
from ..sampling import Draws, Progress, Sampler


class AutoregressiveModel(nn.Module):
    """A model of integer images as a product of one distribution for each value (section 2).

    A subclass has ``image_channels``, ``levels``, ``condition_channels``, every other argument of its constructor under
    the argument's name, and a ``forward`` from images, condition and ``check`` to logits.
    """

    image_channels: int
    levels: int
    condition_channels: int
    backend: str

    if TYPE_CHECKING:  # torch says Any

        def __call__(self, images: Tensor, condition: Tensor | None = None, *, check: bool = True) -> Tensor: ...

    def log_prob(self, images: Tensor, condition: Tensor | None = None, *, check: bool = True) -> Tensor:
        """Exact log-likelihood in nats (section 2), (N,), at most 0; what papers report as nats is its negative.

        Args:
            images: (N, image_channels, H, W) of integers in [0, levels).
            condition: broadcastable to (N, condition_channels, H, W), for a model with ``condition_channels``.
            check: False does not look at the images' values. The caller has checked that they are in range; a value
                that is not gives a wrong result or an error of the device. Nothing then waits for a GPU, so that the
                call can be captured in a CUDA graph. Types and shapes are checked in any case.

        Raises:
            TypeError: images that are not integers, or not dense.
            ValueError: a shape or a value out of range (values are not looked at inside torch.compile, nor where there
                are none: on the meta device and of fake tensors).

        Example:
            >>> model = from_name("mnist-diagonal")
            >>> model.log_prob(torch.zeros(2, 1, 28, 28, dtype=torch.uint8)).shape
            torch.Size([2])
        """
        options = {} if check else {"check": False}  # a forward of a user's own may not have it
        return likelihood.log_prob(self(images, condition, **options), images).sum((1, 2, 3))

    def bits_per_dim(self, images: Tensor, condition: Tensor | None = None, *, check: bool = True) -> Tensor:
        """Mean over the images of -log_prob in bits a value, C * H * W values an image; a differentiable scalar
        (section 5.1).

        Arguments and errors as in :meth:`log_prob`.
        """
        return likelihood.bits_per_dim(self.log_prob(images, condition, check=check), math.prod(images.shape[1:]))

    @torch.no_grad()
    def sample(
        self,
        n: int,
        shape: tuple[int, int, int],
        *,
        generator: torch.Generator | None = None,
        temperature: float = 1.0,
        given: Tensor | None = None,
        known: Tensor | None = None,
        condition: Tensor | None = None,
        progress: bool | Callable[[int, int], None] = False,
    ) -> Tensor:
        """Images drawn from the model, pixel by pixel in raster order, colour by colour (section 2).

        Every layer keeps its state, so that a pixel costs one column of the network. All randomness is one tensor of
        float64 uniform numbers (n, C, H, W), drawn first; a value is where the cumulative distribution passes its
        number.

        Values that are known are kept and the others drawn, each given the known and drawn values *before* it. That is
        the exact conditional distribution only where the known values precede all unknown ones in the model's order (an
        upper half); elsewhere (a left half, a box) later known values are met, not foreseen. The order of a multi-scale
        model is the small image first.

        Args:
            n: how many images.
            shape: (C, H, W) of an image.
            generator: of the uniform numbers; torch's global one of the CPU if None. The same seed of a generator gives
                the same images on any device, up to rounding.
            temperature: the logits are divided by it; 0 takes the most likely value every time.
            given: integers in [0, levels) where known, broadcastable to (n, C, H, W).
            known: bool, broadcastable to (n, C, H, W): True where ``given`` is kept.
            condition: broadcastable to (n, condition_channels, H, W), for a model with ``condition_channels``.
            progress: called with (rows done, rows) after every row of pixels; True writes them to stderr.

        Returns:
            (n, C, H, W) of int64, on the model's device.

        Raises:
            TypeError, ValueError: an argument does not fit. An exception of ``progress``, or KeyboardInterrupt, passes
                through.

        Example:
            >>> model = from_name("mnist-diagonal")
            >>> model.sample(16, (1, 28, 28), generator=torch.Generator().manual_seed(0)).shape
            torch.Size([16, 1, 28, 28])
        """
        draws = sampling.checked_draws(self, n, shape, generator, temperature, given, known)
        self._check_condition(condition, n, *shape[1:])
        return self._draw(sampling.incremental, draws, condition, sampling.reporter(progress))

    def compress(
        self,
        images: Tensor | Sequence[Tensor],
        condition: Tensor | Sequence[Tensor] | None = None,
        *,
        streams: int | None = None,
        batch_size: int = 64,
        progress: bool | Callable[[int, int], None] = False,
    ) -> bytes:
        """Images as a file, lossless, of the size that their likelihood promises.

        A shortcut of :meth:`pixelrnn_ext.codec.Codec.compress`, which says more; a Codec that is kept does not prepare
        the model again.

        Example:
            >>> model = PixelCNN(image_channels=1, levels=2, hidden_channels=8, num_layers=1)
            >>> images = torch.zeros(3, 1, 8, 8, dtype=torch.int64)
            >>> torch.equal(model.decompress(model.compress(images)), images)
            True
        """
        return Codec(self).compress(images, condition, streams=streams, batch_size=batch_size, progress=progress)

    def decompress(
        self,
        data: bytes | bytearray | memoryview,
        condition: Tensor | Sequence[Tensor] | None = None,
        *,
        max_bytes: int = 2**32,
        batch_size: int = 64,
        progress: bool | Callable[[int, int], None] = False,
    ) -> Tensor:
        """The images of a file that :meth:`compress` made, (N, C, H, W) of int64: a shortcut of
        :meth:`pixelrnn_ext.codec.Codec.decompress`."""
        codec = Codec(self)
        return codec.decompress(data, condition, max_bytes=max_bytes, batch_size=batch_size, progress=progress)

    def _draw(
        self, sampler: Sampler, draws: Draws, condition: Tensor | None, progress: Progress | None = None
    ) -> Tensor:
        """By one of the samplers of :mod:`pixelrnn_ext.sampling`."""
        return sampler(self, draws, condition, progress)

    def scaled(self, values: Tensor) -> Tensor:
        """[0, levels) to [-1, 1], in the model's dtype: what the network reads."""
        if isinstance(values, Recorded):
            return recording.scaled(values)
        return values.to(next(self.parameters()).dtype) * (2 / (self.levels - 1)) - 1

    def _check_images(self, images: Tensor, check: bool = True) -> None:
        """Checks the type and the shape of images, and their values unless ``check`` is False."""
        if isinstance(images, Recorded):
            return
        check_integers("images", images)
        if images.dim() != 4 or images.shape[1] != self.image_channels or 0 in images.shape[2:]:
            expected = f"(N, {self.image_channels}, H, W)"
            raise ValueError(f"expected images of shape {expected} with H, W >= 1, got {tuple(images.shape)}")
        if not check or torch.compiler.is_dynamo_compiling():
            return
        values = readable(images)
        if values is not None:
            with _disable_current_modes():  # a trace has no use for it
                check_levels("images", values, self.levels)
            if values.is_cpu:
                channels = 2 * getattr(self, "hidden_channels", 0)  # of one map
                pixels = images.numel() // self.image_channels
                check_memory("images", images.shape, pixels * channels * next(self.parameters()).element_size())

    def _check_condition(self, condition: Tensor | None, images: int, height: int, width: int) -> None:
        if isinstance(condition, Recorded):
            return
        if not self.condition_channels:
            if condition is not None:
                raise ValueError("expected no condition for a model without condition_channels, got one")
            return
        expected = (images, self.condition_channels, height, width)
        if condition is None:
            raise ValueError(f"expected a condition broadcastable to {expected}, got None")
        if not isinstance(condition, Tensor) or not condition.is_floating_point():
            got = condition.dtype if isinstance(condition, Tensor) else type(condition).__name__
            raise TypeError(f"expected condition as a Tensor of floating-point numbers, got {got}")
        check_dense("condition", condition)
        device = next(self.parameters()).device
        if condition.device != device:
            raise ValueError(f"expected condition on the model's device, {device}, got {condition.device}")
        fits = condition.dim() == 4 and condition.shape[1] == self.condition_channels
        if not fits or any(got not in (1, want) for got, want in zip(condition.shape, expected)):
            raise ValueError(f"expected a condition broadcastable to {expected}, got {tuple(condition.shape)}")

    def extra_repr(self) -> str:
        names = inspect.signature(type(self)).parameters
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in names if hasattr(self, name))


def head_channels_of(head_channels: int | None, levels: int) -> int:
    """Those of the paper's MNIST or CIFAR-10 models where None is given (table 1)."""
    return (32 if levels == 2 else 1024) if head_channels is None else head_channels
