"""The base class of all models, with their likelihoods, sampling and compression of images."""

import inspect
import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes

from .. import likelihood, sampling
from .._dynamo import never_compiled
from .._recordable import Recorded
from ..codec import Codec
from ..incremental import recording
from ..operators.operands import check_dense, check_integers, check_levels, check_memory, concrete_tensor
from ..sampling import Draws, Progress, SamplerFunction


class AutoregressiveModel(nn.Module):
    """A model of images with integer values.

    An image's probability is the product of one conditional probability per value (section 2). A subclass has a method
    ``forward(images, condition, *, check)`` that returns logits. The subclass keeps every argument of its constructor
    as an attribute of the same name.
    """

    image_channels: int
    levels: int
    condition_channels: int
    backend: str

    if TYPE_CHECKING:

        def __call__(self, images: Tensor, condition: Tensor | None = None, *, check: bool = True) -> Tensor: ...

    def log_prob(self, images: Tensor, condition: Tensor | None = None, *, check: bool = True) -> Tensor:
        """Returns each image's exact log-likelihood in nats, (N,), at most 0. Papers report minus this number.

        Args:
            images: (N, image_channels, H, W) of integers in [0, levels).
            condition: broadcastable to (N, condition_channels, H, W), for a model with ``condition_channels``.
            check: False skips the check of the images' values. Then the CPU never waits for a GPU, and a CUDA graph can
                capture the call. But a value out of range gives a wrong result or a device error.

        Raises:
            TypeError: images are not integers, or not dense.
            ValueError: a shape does not fit, or a value is out of range. Values are not checked inside torch.compile,
                on the meta device and in fake tensors.

        Example:
            >>> model = from_name("mnist-diagonal")
            >>> model.log_prob(torch.zeros(2, 1, 28, 28, dtype=torch.uint8)).shape
            torch.Size([2])
        """
        options = {} if check else {"check": False}
        return likelihood.log_prob(self(images, condition, **options), images).sum((1, 2, 3))

    def bits_per_dim(self, images: Tensor, condition: Tensor | None = None, *, check: bool = True) -> Tensor:
        """Returns the mean negative log-likelihood of the images in bits per value (section 5.1).

        The result is a differentiable scalar. The arguments and errors are those of :meth:`log_prob`.
        """
        return likelihood.bits_per_dim(self.log_prob(images, condition, check=check), math.prod(images.shape[1:]))

    @never_compiled
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
        progress: bool | Progress = False,
    ) -> Tensor:
        """Draws images from the model, pixel by pixel in raster order, colour by colour (section 2).

        Several batches are faster with a :class:`pixelrnn_ext.sampling.Sampler`, which prepares the model only once.

        For each pixel the network is computed at that pixel alone. All randomness comes from one tensor of uniform
        float64 numbers (n, C, H, W), drawn first. A value is the first level whose cumulative probability exceeds the
        value's uniform number.

        Known values are kept. Every other value is drawn given the known and drawn values *before* it. (A multi-scale
        model begins with its small image.) This is the exact conditional distribution only if the known values precede
        all unknown values in the model's order: for an upper half, but not for a left half or a box.

        Args:
            n: number of images.
            shape: (C, H, W) of an image.
            generator: source of the uniform numbers, by default torch's global CPU generator. A seed gives the same
                images on any device, up to rounding.
            temperature: divides the logits; 0 always takes the most likely value.
            given: the values to keep, broadcastable to (n, C, H, W). They are integers, in [0, levels) where ``known``
                is True.
            known: bool, broadcastable to (n, C, H, W): True where the value of ``given`` is kept.
            condition: broadcastable to (n, condition_channels, H, W), for a model with ``condition_channels``.
            progress: a function that is called with (finished rows, all rows) after every row of pixels, or on a GPU
                after every launch. True writes these numbers to stderr, and before them how the images are drawn
                (:func:`pixelrnn_ext.sampling.sampling_plan`).

        Returns:
            The images, (n, C, H, W) of int64, on the model's device.

        Raises:
            TypeError, ValueError: an argument does not fit.
            FloatingPointError: a probability is NaN, for example since a weight or the condition is. On a GPU this is a
                device error.
            RuntimeError: a CUDA graph captures the call.

        Example:
            >>> model = from_name("mnist-diagonal")
            >>> model.sample(16, (1, 28, 28), generator=torch.Generator().manual_seed(0)).shape
            torch.Size([16, 1, 28, 28])
        """
        call = sampling.progress_callback(progress)
        draws = sampling.checked_draws(self, n, shape, generator, temperature, given, known)
        self._check_condition(condition, n, *shape[1:])
        on_plan = sampling.plan_to_stderr if progress is True else lambda plan: None
        return self._draw(partial(sampling.incremental, on_plan=on_plan), draws, condition, call)

    @never_compiled
    def compress(
        self,
        images: Tensor | Sequence[Tensor],
        condition: Tensor | Sequence[Tensor] | None = None,
        *,
        streams: int | None = None,
        batch_size: int = 64,
        progress: bool | Progress = False,
    ) -> bytes:
        """Compresses images without loss. Returns the bytes of a file.

        The file has about as many bits as the images' negative log2-likelihood.
        :meth:`pixelrnn_ext.codec.Codec.compress` describes the arguments. Several calls are faster with a Codec, which
        prepares the model only once.

        Example:
            >>> model = PixelCNN(image_channels=1, levels=2, hidden_channels=8, num_layers=1)
            >>> images = torch.zeros(3, 1, 8, 8, dtype=torch.int64)
            >>> torch.equal(model.decompress(model.compress(images)), images)
            True
        """
        return Codec(self).compress(images, condition, streams=streams, batch_size=batch_size, progress=progress)

    @never_compiled
    def decompress(
        self,
        data: bytes | bytearray | memoryview,
        condition: Tensor | Sequence[Tensor] | None = None,
        *,
        max_bytes: int = 2**32,
        batch_size: int = 64,
        progress: bool | Progress = False,
    ) -> Tensor:
        """Returns the images of a file that :meth:`compress` made.

        :meth:`pixelrnn_ext.codec.Codec.decompress` describes the arguments.
        """
        codec = Codec(self)
        return codec.decompress(data, condition, max_bytes=max_bytes, batch_size=batch_size, progress=progress)

    def _draw(
        self, sampler: SamplerFunction, draws: Draws, condition: Tensor | None, progress: Progress | None = None
    ) -> Tensor:
        return sampler(self, draws, condition, progress)

    def scaled(self, values: Tensor) -> Tensor:
        """Maps values in [0, levels) to numbers in [-1, 1], the network's input, in the dtype of the model."""
        if isinstance(values, Recorded):
            return recording.record_scaled(values)
        return values.to(next(self.parameters()).dtype) * (2 / (self.levels - 1)) - 1

    def _check_inputs(self, images: Tensor, condition: Tensor | None, check: bool) -> None:
        self._check_images(images, check)
        self._check_condition(condition, images.shape[0], *images.shape[2:])

    def _check_images(self, images: Tensor, check: bool = True) -> None:
        if isinstance(images, Recorded):
            return
        check_integers("images", images)
        if images.dim() != 4 or images.shape[1] != self.image_channels or 0 in images.shape[2:]:
            expected = f"(N, {self.image_channels}, H, W)"
            raise ValueError(f"expected images of shape {expected} with H, W >= 1, got {tuple(images.shape)}")
        if not check or torch.compiler.is_dynamo_compiling():
            return
        values = concrete_tensor(images)
        if values is not None:
            with _disable_current_modes():  # a tracer must not record this check
                check_levels("images", values, self.levels)
            if values.is_cpu:
                channels = 2 * getattr(self, "hidden_channels", 0)
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
    """Returns the number of channels of the 1x1 convolutions before the logits.

    If ``head_channels`` is None, the function returns the number in table 1 of the paper.
    """
    return (32 if levels == 2 else 1024) if head_channels is None else head_channels
