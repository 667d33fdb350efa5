"""Masks A and B of PixelRNN and PixelCNN (sections 2.2 and 3.4 of the paper)."""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.types import Device

from ._arguments import integers, odd_sides


class Mask(NamedTuple):
    """The arguments of :func:`causal_mask` that the weight's shape does not give."""

    mask_type: str
    image_channels: int
    gates: int


def check_mask_type(mask_type: str | None, optional: bool = False) -> None:
    if mask_type not in ("A", "B") and not (optional and mask_type is None):
        expected = "'A', 'B' or None" if optional else "'A' or 'B'"
        raise ValueError(f"expected mask_type to be {expected}, got {mask_type!r}")


def check_colour_groups(channels: int, image_channels: int) -> tuple[int, int]:
    """Returns both counts of channels as ints. Raises TypeError or ValueError unless every colour gets a channel."""
    channels, image_channels = integers(channels=channels, image_channels=image_channels)
    if channels < image_channels:
        raise ValueError(f"expected at least one channel for each of {image_channels} image_channels, got {channels}")
    return channels, image_channels


def colour_groups(channels: int, image_channels: int, *, device: Device = None) -> Tensor:
    """Returns the colour that each of ``channels`` features belongs to, (channels,) of int64.

    Groups are contiguous and have the sizes of :func:`torch.tensor_split`, the larger ones first.
    """
    channels, image_channels = check_colour_groups(channels, image_channels)
    size, larger = channels // image_channels, channels % image_channels  # a traced size has no divmod
    index = torch.arange(channels, device=device)
    return torch.where(index < larger * (size + 1), index // (size + 1), (index - larger) // size)


def colour_range(channels: int, image_channels: int, colour: int) -> tuple[int, int]:
    """Returns the range (start, stop) of the features that belong to ``colour``, see :func:`colour_groups`."""
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
    """Returns the mask of a weight (out_channels, in_channels, height, width): 1 where it is alive, 0 where it is dead.

    Taps before the centre in raster order are alive. At the centre an input channel is alive if its colour comes
    before the output's colour (mask A), or is not after it (mask B).

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
    """Returns whether the mask has no zeros: mask B of a 1 x 1 kernel, with one colour."""
    return mask_type == "B" and image_channels == weight.shape[-2] == weight.shape[-1] == 1


def masked_weight(weight: Tensor, mask_type: str | None, *, image_channels: int = 1, gates: int = 1) -> Tensor:
    """Returns the weight, which may have leading axes, masked by :func:`causal_mask`. mask_type None masks nothing."""
    if mask_type is None or removes_nothing(weight, mask_type, image_channels):
        return weight
    out_channels, in_channels, height, width = weight.shape[-4:]
    options: dict[str, Any] = dict(image_channels=image_channels, gates=gates, device=weight.device, dtype=torch.bool)
    mask = causal_mask(mask_type, out_channels, in_channels, (height, width), **options)
    return torch.where(mask, weight, 0)
