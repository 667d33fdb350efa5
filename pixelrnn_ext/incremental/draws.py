"""Checks the arguments of sampling, and keeps them."""

import math
import sys
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from .._arguments import check_dtype, check_number, integer
from ..operators.operands import check_memory, unexpanded
from .graph import is_capturing
from .network import PixelModel

Progress: TypeAlias = Callable[[int, int], None]


class Draws(NamedTuple):
    """A request to a sampler. All tensors are (N, C, H, W)."""

    uniform: Tensor  # float64, in [0, 1)
    known: Tensor  # bool: which values are known
    values: Tensor  # int64; a sampler reads only the known ones
    temperature: float
    network: str = "the network"  # what error messages call the network that draws


def checked_size(model: PixelModel, n: int, shape: tuple[int, int, int], temperature: float) -> torch.Size:
    """Checks arguments of ``model.sample``. Returns the images' size (N, C, H, W)."""
    parameter = next(model.parameters())
    check_dtype("the model's parameters", parameter.dtype)
    n = integer("n", n, 0)
    if not isinstance(shape, (tuple, list, torch.Size)):
        raise TypeError(f"expected shape to be a tuple (C, H, W), got {type(shape).__name__}")
    sides = tuple(integer("a number in shape", side, 0) for side in shape)
    if len(sides) != 3 or 0 in sides or sides[0] != model.image_channels:
        raise ValueError(f"expected shape ({model.image_channels}, H, W) with H, W >= 1, got {sides}")
    check_number("temperature", temperature)
    if not 0 <= temperature <= sys.float_info.max:
        raise ValueError(f"expected temperature >= 0 and finite, got {temperature}")
    size = torch.Size((n, *sides))
    if parameter.device.type == "cpu":
        check_memory("images", size, math.prod(size) * (torch.int64.itemsize + torch.float64.itemsize))
    return size


def checked_draws(
    model: PixelModel,
    n: int,
    shape: tuple[int, int, int],
    generator: torch.Generator | None,
    temperature: float,
    given: Tensor | None,
    known: Tensor | None,
) -> Draws:
    """Checks the arguments of ``model.sample``. Draws the uniform numbers. Moves all tensors to the model's device."""
    size, target = checked_size(model, n, shape, temperature), next(model.parameters()).device
    if generator is not None and not isinstance(generator, torch.Generator):
        raise TypeError(f"expected generator to be a torch.Generator, got {type(generator).__name__}")
    if (given is None) != (known is None):
        raise ValueError(f"expected given and known together, got only {'known' if given is None else 'given'}")
    if is_capturing(target):
        _check_device(target, generator=generator, given=given, known=known)
    if given is None or known is None:
        values = torch.zeros(size, dtype=torch.int64, device=target)
        is_known = torch.zeros(size, dtype=torch.bool, device=target)
    else:
        values, is_known = _known_values(model, size, given, known)
    uniform, is_known, values = (tensor.to(target) for tensor in (uniform_numbers(size, generator), is_known, values))
    return Draws(uniform, is_known, values, float(temperature), type(model).__name__)


def uniform_numbers(size: torch.Size, generator: torch.Generator | None) -> Tensor:
    """Draws the uniform numbers of images on the generator's device. So a seed gives the same image on every device."""
    return torch.rand(size, dtype=torch.float64, generator=generator, device=generator.device if generator else "cpu")


def _check_device(device: torch.device, generator: torch.Generator | None, **tensors: Tensor | None) -> None:
    """A CUDA graph captures no copy from another device."""
    devices = {"generator": None if generator is None else generator.device}
    devices |= {name: tensor.device for name, tensor in tensors.items() if isinstance(tensor, Tensor)}
    for name, got in devices.items():
        if got != device:
            raise RuntimeError(f"expected {name} on {device} during the capture of a CUDA graph, got {got or 'none'}")


def _known_values(model: PixelModel, size: torch.Size, given: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    if not isinstance(given, Tensor) or given.is_floating_point() or given.is_complex() or given.dtype == torch.bool:
        raise TypeError(f"expected given as a Tensor of integers, got {getattr(given, 'dtype', type(given).__name__)}")
    if not isinstance(known, Tensor) or known.dtype != torch.bool:
        raise TypeError(f"expected known as a Tensor of bool, got {getattr(known, 'dtype', type(known).__name__)}")
    for name, tensor in (("given", given), ("known", known)):
        if tensor.dim() > 4 or any(got not in (1, want) for got, want in zip(tensor.shape[::-1], size[::-1])):
            raise ValueError(f"expected {name} broadcastable to {tuple(size)}, got {tuple(tensor.shape)}")
    values, is_known = unexpanded(given).long(), unexpanded(known).to(given.device)
    outside = is_known & ((values < 0) | (values >= model.levels))
    expected = f"expected given values in [0, {model.levels}) where known"
    if is_capturing(values.device):
        torch.ops.aten._assert_async.msg(~outside.any(), expected)
    elif outside.any():
        wrong = int(values.expand_as(outside)[outside][0])
        raise ValueError(f"{expected}, got {wrong}")
    return torch.where(is_known, values, 0).expand(size).contiguous(), is_known.expand(size)
