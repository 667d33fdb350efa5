"""Support for batches of images of different sizes. Each image lies in the top left corner of a larger feature map."""

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from ...directions import CORNERS, flipped
from ..operands import check_integers, concrete_tensor, shape


def check_sizes(sizes: Tensor, input: Tensor) -> None:
    """Raises TypeError or ValueError unless ``sizes`` fit the images of ``input``.

    Does not read the values of sizes that are on a GPU, or while torch traces or transforms the call. All code that
    uses sizes clamps the values to the map.
    """
    check_integers("sizes", sizes)
    n, _, height, width = input.shape
    if sizes.shape != (n, 2):
        transposed = ", which is transposed" if sizes.shape == (2, n) else ""
        expected = f"({n}, 2), a height and a width for each image"
        raise ValueError(f"expected sizes of shape {expected}, got {shape(sizes)}{transposed}")
    if sizes.device.type != "cpu" and sizes.device != input.device:
        raise ValueError(f"expected sizes on the CPU or on the input's device, {input.device}, got {sizes.device}")
    if torch.compiler.is_compiling() or sizes.device.type != "cpu" or concrete_tensor(sizes) is not sizes:
        return
    with _disable_current_modes():  # a tracer must not record this read
        values = sizes.tolist()
    for image, (h, w) in enumerate(values):
        if not (0 <= h <= height and 0 <= w <= width):
            raise ValueError(f"expected sizes from 0 x 0 to {height} x {width}, got {h} x {w} of image {image}")


def inside_mask(sizes: Tensor, height: int, width: int, device: torch.device) -> Tensor:
    rows, columns = (
        torch.arange(size, device=device) < sizes[:, axis : axis + 1].to(device)
        for axis, size in enumerate((height, width))
    )
    return rows[:, :, None] & columns[:, None]


def fill_outside(m: Tensor, sizes: Tensor | None, filling: Tensor | float) -> Tensor:
    """Replaces all values outside the images, even NaN, by ``filling``. m is [..., B, H, W, channels]."""
    if sizes is None:
        return m
    return torch.where(inside_mask(sizes, m.shape[-3], m.shape[-2], m.device)[..., None], m, filling)


class Images:
    """Images in the top left corners of feature maps m (N, C, H, W).

    In ``maps`` all values outside the images, even NaN, are 0. ``inside`` (N, 1, H, W) marks the images' pixels.
    """

    def __init__(self, sizes: Tensor | None, m: Tensor) -> None:
        self._sizes = sizes = None if sizes is None else sizes.to(m.device)
        self.inside: Tensor | None = None
        if sizes is not None:
            self.inside = inside_mask(sizes, m.shape[2], m.shape[3], m.device)[:, None]
        self.maps: Tensor = self.clear_outside(m)

    def clear_outside(self, m: Tensor) -> Tensor:
        return m if self.inside is None else torch.where(self.inside, m, 0)

    def flipped(self, m: Tensor, corner: str) -> Tensor:
        """Flips each image within its size, so that a scan from ``corner`` becomes one from the top left."""
        if self._sizes is None:
            return flipped(m, corner)
        for axis, sense in zip((2, 3), CORNERS[corner]):
            if sense < 0:
                length = m.shape[axis]
                index, size = torch.arange(length, device=m.device), self._sizes[:, axis - 2, None].clamp(0, length)
                mirrored = torch.where(index < size, size - 1 - index, index)
                mirrored = mirrored[:, None, :, None] if axis == 2 else mirrored[:, None, None]
                m = m.gather(axis, mirrored.expand_as(m))
        return m
