"""The multi-scale PixelRNN (section 3.6). It models a small image first, then the whole image given the small image."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from .._arguments import integer
from .._dynamo import never_compiled
from .._recordable import Recorded
from ..incremental import recording
from ..sampling import Draws, Progress, Report, SamplerFunction
from .autoregressive import AutoregressiveModel, head_channels_of
from .stack import PixelRNN


class Upsampling(nn.Sequential):
    """Upsamples (N, in, H, W) to (N, out, factor * H, factor * W), with a layer for each prime factor."""

    def __init__(self, in_channels: int, out_channels: int, factor: int) -> None:
        layers: list[nn.Module] = []
        for prime in _prime_factors(factor):
            kernel = 2 * prime - prime % 2
            sizes = in_channels if not layers else out_channels, out_channels
            layers += [nn.ReLU()] if layers else []
            layers.append(nn.ConvTranspose2d(*sizes, kernel, stride=prime, padding=(kernel - prime) // 2))
        super().__init__(*layers)


class MultiScalePixelRNN(AutoregressiveModel):
    """Multi-scale PixelRNN (section 3.6).

    A PixelRNN models the small image ``images[..., ::factor, ::factor]``. Transposed convolutions upsample it to a
    feature map, which conditions every layer of a second PixelRNN. The second model is given the small image's pixels,
    and models only the other pixels, in raster order.

    Args:
        factor: how many times smaller the small image is, at least 2. The height and the width of an image must be
            multiples of it.
        upsampling_channels: number of channels of the upsampled feature map.
        small: a dictionary of the small model's arguments that differ from the large model's.
        condition_channels: number of channels of a condition for both models. The small model reads every ``factor``-th
            row and column of the condition.

    The other arguments are the large model's. :class:`PixelRNN` describes them and the errors.

    Example:
        >>> sizes = dict(hidden_channels=16, num_layers=2, head_channels=32)
        >>> model = MultiScalePixelRNN("row", image_channels=3, levels=256, **sizes, small={"layer": "diagonal"})
        >>> model.bits_per_dim(torch.randint(256, (2, 3, 8, 8))).shape
        torch.Size([])
    """

    layer: str
    hidden_channels: int
    num_layers: int
    head_channels: int
    kernel_size: int
    residual: bool
    skip: bool
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
        factor: int = 2,
        upsampling_channels: int = 32,
        small: dict[str, Any] | None = None,
        kernel_size: int = 3,
        residual: bool = True,
        skip: bool = False,
        initial_state: str = "learned",
        condition_channels: int = 0,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        self.upsampling_channels: int = integer("upsampling_channels", upsampling_channels)
        self.factor: int = integer("factor", factor, 2)
        if small is not None and not isinstance(small, dict):
            raise TypeError(f"expected small to be a dict, got {type(small).__name__}")
        data = dict[str, Any](image_channels=image_channels, levels=levels, condition_channels=condition_channels)
        network = dict[str, Any](
            layer=layer,
            hidden_channels=hidden_channels,
            num_layers=num_layers,
            head_channels=head_channels_of(head_channels, levels),
            kernel_size=kernel_size,
            residual=residual,
            skip=skip,
            initial_state=initial_state,
            backend=backend,
        )
        small = dict(small or {})
        if unknown := small.keys() - network.keys():
            raise ValueError(f"expected small to have arguments of PixelRNN that may differ, got {sorted(unknown)}")
        self.small_model: PixelRNN = PixelRNN(**data, **network | small)
        self.upsampling: Upsampling = Upsampling(image_channels, self.upsampling_channels, self.factor)
        large = {"condition_channels": self.upsampling_channels + condition_channels}
        self.large_model: PixelRNN = PixelRNN(**data | large, **network)
        self.small: dict[str, Any] = {name: getattr(self.small_model, name) for name in small}
        for name in data | network:
            setattr(self, name, getattr(self.large_model, name))
        self.condition_channels: int = self.small_model.condition_channels

    def forward(self, images: Tensor, condition: Tensor | None = None, *, check: bool = True) -> Tensor:
        """Returns the logits of every value, (N, levels, C, H, W), or (N, 1, C, H, W) with two levels.

        The small model gives the logits of its own pixels, and the large model all others. The arguments and errors are
        those of :meth:`.log_prob`.
        """
        if isinstance(images, Recorded):
            return recording.record_multi_scale(images, condition)
        return self._logits(lambda model, *inputs: model(*inputs, check=False), images, condition, check)

    @never_compiled
    def incremental_logits(self, images: Tensor, condition: Tensor | None = None, *, check: bool = True) -> Tensor:
        """Returns the same logits as :meth:`forward`, but computes both models pixel by pixel, as sampling does."""
        recording.check_hooks(self, condition is not None)
        return self._logits(
            lambda model, *inputs: model.incremental_logits(*inputs, check=False), images, condition, check
        )

    def _logits(
        self,
        compute_logits: Callable[[PixelRNN, Tensor, Tensor | None], Tensor],
        images: Tensor,
        condition: Tensor | None,
        check: bool,
    ) -> Tensor:
        self._check_inputs(images, condition, check)
        self._check_multiples(*images.shape[2:])
        small_images = images[..., :: self.factor, :: self.factor]
        small = compute_logits(self.small_model, small_images, self._small_condition(condition))
        logits = compute_logits(self.large_model, images, self._large_condition(small_images, condition))
        # slice_scatter replaces assignments to slices, such as ``y[::2] = x``, which torch.func.linearize loses.
        rows = logits[..., :: self.factor, :].slice_scatter(small, -1, step=self.factor)
        return logits.slice_scatter(rows, -2, step=self.factor)

    def _draw(
        self, sampler: SamplerFunction, draws: Draws, condition: Tensor | None, progress: Progress | None = None
    ) -> Tensor:
        self._check_multiples(*draws.values.shape[2:])
        recording.check_hooks(self, condition is not None)
        rows = draws.values.shape[2]
        report = Report(progress or False, rows // self.factor + rows)
        uniform, known, values = (t[..., :: self.factor, :: self.factor] for t in draws[:3])
        small_draws = Draws(uniform, known, values, draws.temperature, f"{draws.network}.small_model")
        small_condition, small_rows = self._small_condition(condition), report.next_part(rows // self.factor)
        small_images = self.small_model._draw(sampler, small_draws, small_condition, small_rows)
        known, values = draws.known.clone(), draws.values.clone()
        known[..., :: self.factor, :: self.factor] = True
        values[..., :: self.factor, :: self.factor] = small_images
        large_draws = draws._replace(known=known, values=values, network=f"{draws.network}.large_model")
        large_condition = self._large_condition(small_images, condition)
        return self.large_model._draw(sampler, large_draws, large_condition, report.next_part(rows))

    def _small_condition(self, condition: Tensor | None) -> Tensor | None:
        return None if condition is None else condition[..., :: self.factor, :: self.factor]

    def _large_condition(self, small_images: Tensor, condition: Tensor | None) -> Tensor:
        upsampled = self.upsampling(self.scaled(small_images))
        if condition is None:
            return upsampled
        n, _, height, width = upsampled.shape
        return torch.cat([upsampled, condition.to(upsampled.dtype).expand(n, -1, height, width)], 1)

    def _check_multiples(self, height: int, width: int) -> None:
        if height % self.factor or width % self.factor:
            raise ValueError(f"expected H and W to be multiples of factor {self.factor}, got {height} x {width}")


def _prime_factors(number: int) -> list[int]:
    for prime in range(2, number + 1):
        if number % prime == 0:
            return [prime, *_prime_factors(number // prime)]
    return []
