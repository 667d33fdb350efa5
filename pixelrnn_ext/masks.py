"""Masks A and B of PixelRNN and PixelCNN (sections 2.2 and 3.4 of the paper)."""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.types import Device

from ._arguments import integers, odd_sides


class Mask(NamedTuple):
    """The arguments of :func:`causal_mask`, without the weight's shape."""

    mask_type: str
    image_channels: int
    gates: int


def check_mask_type(mask_type: str | None, optional: bool = False) -> None:
    if mask_type not in ("A", "B") and not (optional and mask_type is None):
        expected = "'A', 'B' or None" if optional else "'A' or 'B'"
        raise ValueError(f"expected mask_type to be {expected}, got {mask_type!r}")


def check_colour_groups(channels: int, image_channels: int) -> tuple[int, int]:
    channels, image_channels = integers(channels=channels, image_channels=image_channels)
    if channels < image_channels:
        raise ValueError(f"expected at least one channel for each of {image_channels} image_channels, got {channels}")
    return channels, image_channels


def colour_groups(channels: int, image_channels: int, *, device: Device = None) -> Tensor:
    """Divides channels among the colours. Returns the colour of each channel, (channels,) of int64.

    The channels of a colour are contiguous. The groups have the sizes of :func:`torch.tensor_split`, the larger ones
    first.
    """
    channels, image_channels = check_colour_groups(channels, image_channels)
    # divmod() fails for a torch.SymInt, a size inside torch.compile.
    size, larger = channels // image_channels, channels % image_channels
    index = torch.arange(channels, device=device)
    return torch.where(index < larger * (size + 1), index // (size + 1), (index - larger) // size)


def colour_range(channels: int, image_channels: int, colour: int) -> tuple[int, int]:
    """Returns the range (start, stop) of the channels that :func:`colour_groups` gives to ``colour``."""
    size, larger = divmod(channels, image_channels)
    return colour * size + min(colour, larger), (colour + 1) * size + min(colour + 1, larger)


def causal_mask(
    mask_type: str,
    out_channels: int,
    in_channels: int,
    kernel_size: int | tuple[int, int],
    *,
    image_channels: int = 1,
    gates: int = 1,
    device: Device = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Returns the mask of a convolution's weight: 1 where the weight is alive, 0 where it is masked.

    The mask is (out_channels, in_channels, height, width). The kernel's taps (positions) before the centre in raster
    order are alive. At the centre a weight is alive if the colour of its input channel comes before the colour of its
    output channel. With mask B a weight between channels of the same colour is alive, too.

    Args:
        mask_type: ``"A"`` or ``"B"``.
        out_channels, in_channels: channels of the weight.
        kernel_size: odd, an integer or (height, width).
        image_channels: colours that the channels are divided into, see :func:`colour_groups`.
        gates: number of equal blocks of output channels, which all have the same mask.

    Example:
        >>> causal_mask("A", 1, 1, 3)[0, 0].tolist()
        [[1.0, 1.0, 1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """
    check_mask_type(mask_type)
    height, width = odd_sides(kernel_size)
    out_channels, gates = integers(out_channels=out_channels, gates=gates)
    if out_channels % gates:
        raise ValueError(f"expected out_channels divisible by {gates} gates, got {out_channels}")
    group_out = colour_groups(out_channels // gates, image_channels, device=device)[:, None]
    group_in = colour_groups(in_channels, image_channels, device=device)
    centre = (group_in < group_out) if mask_type == "A" else (group_in <= group_out)
    position = torch.arange(height * width, device=device).view(height, width)
    middle = height * width // 2
    mask = (position < middle) | ((position == middle) & centre[:, :, None, None])
    return mask.repeat(gates, 1, 1, 1).to(dtype or torch.get_default_dtype())


def removes_nothing(weight: Tensor, mask_type: str, image_channels: int) -> bool:
    return mask_type == "B" and image_channels == weight.shape[-2] == weight.shape[-1] == 1


def masked_weight(weight: Tensor, mask_type: str | None, *, image_channels: int = 1, gates: int = 1) -> Tensor:
    """Returns the weight, multiplied by the mask of :func:`causal_mask`. ``mask_type`` None leaves it unmasked.

    The weight may have further axes before the four axes of a convolution's weight. Where the mask is 0, the result is
    0 even if the weight is NaN.
    """
    if mask_type is None or removes_nothing(weight, mask_type, image_channels):
        return weight
    out_channels, in_channels, height, width = weight.shape[-4:]
    options: dict[str, Any] = dict(image_channels=image_channels, gates=gates, device=weight.device, dtype=torch.bool)
    mask = causal_mask(mask_type, out_channels, in_channels, (height, width), **options)
    return torch.where(mask, weight, 0)
