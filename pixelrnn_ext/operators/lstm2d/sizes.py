"""The sizes of images that lie in the top left corner of a larger map."""

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from ..operands import INTEGERS, readable, shape


def check_sizes(sizes: Tensor, input: Tensor) -> None:
    """TypeError or ValueError unless ``sizes`` may be those of the images of ``input`` (N, C, H, W).

    The values of those on a GPU are not looked at, which would wait for it, nor are those that torch.compile or
    torch.vmap stands for: what uses them clamps them.
    """
    if not isinstance(sizes, Tensor) or sizes.dtype not in INTEGERS:
        got = sizes.dtype if isinstance(sizes, Tensor) else type(sizes).__name__
        raise TypeError(f"expected sizes as a Tensor of integers, got {got}")
    n, _, height, width = input.shape
    if sizes.shape != (n, 2):
        transposed = ", which is transposed" if sizes.shape == (2, n) else ""
        expected = f"({n}, 2), a height and a width for each image"
        raise ValueError(f"expected sizes of shape {expected}, got {shape(sizes)}{transposed}")
    if sizes.device.type != "cpu" and sizes.device != input.device:
        raise ValueError(f"expected sizes on the CPU or on the input's device, {input.device}, got {sizes.device}")
    if torch.compiler.is_compiling() or sizes.device.type != "cpu" or readable(sizes) is not sizes:
        return
    with _disable_current_modes():  # a trace has no use for it
        values = sizes.tolist()
    for image, (h, w) in enumerate(values):
        if not (0 <= h <= height and 0 <= w <= width):
            raise ValueError(f"expected sizes from 0 x 0 to {height} x {width}, got {h} x {w} of image {image}")


def inside(sizes: Tensor, input: Tensor) -> Tensor:
    """Which pixels of ``input`` (N, C, H, W) are of its images, (N, 1, H, W)."""
    sizes = sizes.to(input.device)
    rows, columns = (torch.arange(size, device=input.device) for size in input.shape[2:])
    return ((rows < sizes[:, :1])[:, :, None] & (columns < sizes[:, 1:])[:, None])[:, None]
