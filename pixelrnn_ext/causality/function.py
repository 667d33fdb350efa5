"""Calls the function that a user checks, and brings its maps into one form."""

import copy
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from .._arguments import integer, integers
from .._sentences import reason
from ..masks import colour_groups

LAYOUTS = ("levels-first", "flat", "features")


class CheckedFunction:
    """A function from images to maps, with what is needed to examine it.

    Calling it returns maps (N, K, H, W), whatever the layout of the user's function.

    Attributes:
        grid: (colours, H, W), the values of inputs and outputs.
        input_colours, output_colours: the colour of each channel, int64 tensors.
        batch: the number of images in every call. An image may be rounded in another way in a batch of another size.
        is_real: whether images have a floating-point dtype.
    """

    def __init__(
        self,
        f: Callable[[Tensor], Tensor],
        shape: Sequence[int],
        layout: str,
        image_channels: int | None,
        levels: int | None,
        dtype: torch.dtype,
        seed: int,
    ) -> None:
        if not callable(f):
            raise TypeError(f"expected f to be a module or a function, got {type(f).__name__}")
        if layout not in LAYOUTS:
            raise ValueError(f"expected layout to be one of {', '.join(LAYOUTS)}, got {layout!r}")
        if not isinstance(shape, Sequence) or len(shape) != 3:
            raise ValueError(f"expected shape to be (C, H, W), got {shape}")
        if not isinstance(dtype, torch.dtype) or dtype.is_complex or dtype == torch.bool:
            raise TypeError(f"expected dtype to be a torch.dtype of real numbers or integers, got {dtype}")
        channels, height, width = integers(channels=shape[0], height=shape[1], width=shape[2])
        colours = channels if image_channels is None else integer("image_channels", image_channels)
        self.shape: tuple[int, int, int] = (channels, height, width)
        self.grid: tuple[int, int, int] = (colours, height, width)
        self.batch: int = min(max(2**18 // (channels * height * width), 4), 32)
        self.input_colours: Tensor = colour_groups(channels, colours)
        self._levels = None if levels is None else integer("levels", levels, 2)
        self.is_real: bool = dtype.is_floating_point
        if levels is None and not self.is_real:
            raise ValueError(f"expected levels for images of {dtype}, got none")
        # From 0 to this number, the dtype has every integer.
        largest = int(2 / torch.finfo(dtype).eps) if self.is_real else torch.iinfo(dtype).max
        if self._levels and self._levels > largest + 1:
            raise ValueError(f"expected at most {largest + 1} levels for images of {dtype}, got {levels}")
        self._dtype, self._layout, self._seed = dtype, layout, integer("seed", seed, 0)
        self._f, self._device = f, torch.device("cpu")
        if isinstance(f, nn.Module):
            self._f = _copied(f, dtype if self.is_real else torch.float64)
            self._device = next((tensor.device for tensor in f.state_dict().values()), self._device)
        self.restart()

    @contextmanager
    def isolated(self) -> Iterator[None]:
        """Enables derivatives in a ``with`` block, and afterwards gives torch's random generators their state back.

        Before and after the block, the same images must have the same maps.
        """
        devices = [self._device] if self._device.type == "cuda" else []
        with torch.inference_mode(False), torch.enable_grad(), torch.random.fork_rng(devices):
            images = self.draw(self.batch)
            # A second copy of a module does not know what the first copy keeps of its first images. Lazy parameters get
            # the same random numbers.
            fresh = copy.deepcopy(self._f) if isinstance(self._f, nn.Module) else self._f
            state = torch.get_rng_state()
            maps = self._values(images)
            self._f = fresh
            torch.set_rng_state(state)
            self.output_colours: Tensor = self._colours(maps.shape[1])
            self._check_mixing(images, maps)
            yield
            self._check_repeats(images, maps)

    def restart(self) -> None:
        """Makes the next draws those of a new object."""
        self._generator = torch.Generator().manual_seed(self._seed)

    def draw(self, count: int = 1) -> Tensor:
        """Returns new random images (count, C, H, W)."""
        size = (count, *self.shape)
        if self._levels is None:
            images = torch.randn(size, dtype=torch.float64, generator=self._generator)
        else:
            images = torch.randint(self._levels, size, generator=self._generator)
        return images.to(self._device, self._dtype)

    def changed(self, images: Tensor) -> Tensor:
        """Returns images in which every value differs from that of ``images``."""
        if self._levels is None:
            return images + 2 * self.draw(len(images))
        steps = torch.randint(1, self._levels, images.shape, generator=self._generator)
        return ((images.cpu().long() + steps) % self._levels).to(images)

    def draw_cotangent(self, maps: Tensor) -> Tensor:
        return torch.randn(maps.shape, dtype=torch.float64, generator=self._generator).to(maps)

    def __call__(self, images: Tensor) -> Tensor:
        try:
            maps = self._f(images.clone())  # the function may change its images
        except (Exception, SystemExit) as error:  # a user's function may raise anything
            text = f"{type(error).__name__}: {reason(error)}"
            raise ValueError(f"expected f to take images {self._named(images)}, but it raised {text}") from error
        if not isinstance(maps, Tensor) or maps.layout != torch.strided or maps.is_nested or maps.is_meta:
            got = maps.layout if isinstance(maps, Tensor) else type(maps).__name__
            raise ValueError(f"expected f to return a dense tensor, got {got}")
        return self._as_feature_maps(maps, len(images))

    def gradient(self, maps: Tensor, images: Tensor, cotangent: Tensor) -> Tensor | None:
        """Returns the gradient with respect to images, or None if there is none or if it is not finite."""
        if not maps.requires_grad:
            return None
        try:
            (gradient,) = torch.autograd.grad(maps, images, cotangent, allow_unused=True)
        except Exception as error:  # a user's function may have any backward pass
            text = f"{type(error).__name__}: {reason(error)}"
            raise ValueError(f"expected f to have derivatives, but its backward pass raised {text}") from error
        return None if gradient is None or not gradient.isfinite().all() else gradient

    def _as_feature_maps(self, maps: Tensor, count: int) -> Tensor:
        colours, *size = self.grid
        if self._layout == "levels-first":
            fits = maps.dim() == 5 and maps.shape[2] == colours
        else:
            fits = maps.dim() == 4 and maps.shape[1] >= colours
            fits = fits and (self._layout == "features" or maps.shape[1] % colours == 0)
        if not fits or len(maps) != count or list(maps.shape[-2:]) != size:
            channels = dict(zip(LAYOUTS, (f"L, {colours}", f"{colours} * L", f"K >= {colours}")))[self._layout]
            expected = f"maps ({count}, {channels}, {size[0]}, {size[1]}) for the layout {self._layout!r}"
            raise ValueError(f"expected f to return {expected}, got {tuple(maps.shape)}")
        if self.is_real and maps.dtype != self._dtype:
            expected = f"{self._dtype}, the dtype of its images, which the argument dtype chooses"
            raise ValueError(f"expected f to return {expected}, got {maps.dtype}")
        if maps.isnan().any():
            raise ValueError("expected f to return numbers, got NaN")
        if self._layout == "levels-first":
            maps = maps.transpose(1, 2)
        # A copy, since the function may return the same memory again.
        copied = maps.clone(memory_format=torch.contiguous_format)
        return copied.flatten(1, 2) if self._layout == "levels-first" else copied

    def _values(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            return self(images)

    def _check_repeats(self, images: Tensor, maps: Tensor) -> None:
        if not torch.equal(self._values(images), maps):
            raise self.differs()

    def _check_mixing(self, images: Tensor, maps: Tensor) -> None:
        """Checks that the maps of an image do not change with another image of the batch."""
        for moves in self._moves():
            others = images.clone()
            others[moves] = self.changed(images[moves])
            if not torch.equal(self._values(others)[~moves], maps[~moves]):
                raise self._mixing(images, maps, others, moves)

    def check_mixing_by_derivatives(self) -> None:
        """Checks that the maps of an image have no derivative with respect to another image of the batch."""
        for moves in self._moves() if self.is_real else ():
            images = self.draw(self.batch).requires_grad_()
            maps = self(images)
            cotangent = self.draw_cotangent(maps)
            cotangent[moves] = 0
            gradient = self.gradient(maps, images, cotangent)
            if gradient is not None and gradient[moves].any():
                mixed = gradient.flatten(1).any(1).cpu() & moves
                raise self.mixes(int(mixed.nonzero()[0]))

    def _moves(self) -> Iterator[Tensor]:
        """Yields which images of a batch to change together, bool (batch,).

        In 7 calls instead of 32, every image changes while any other image does not: the set of the calls in which an
        image changes is no part of another image's set.
        """
        changes = next(n for n in itertools.count() if math.comb(n, n // 2) >= self.batch)
        codes = [*itertools.islice(itertools.combinations(range(changes), changes // 2), self.batch)]
        for change in range(changes):
            yield torch.tensor([change in code for code in codes])

    def _mixing(self, images: Tensor, maps: Tensor, others: Tensor, moves: Tensor) -> ValueError:
        """Returns the error of a function whose maps of some images changed with the images that move."""
        for _ in range(8):  # a dropout of few values may spare some calls
            self._check_repeats(images, maps)
        for i in moves.nonzero().flatten().tolist():
            images = images.clone()
            images[i] = others[i]
            if not torch.equal(self._values(images)[~moves], maps[~moves]):
                return self.mixes(i)
        return self.differs()

    def _colours(self, channels: int) -> Tensor:
        """Returns the colour of each channel of a map."""
        if self._layout == "features":
            return colour_groups(channels, self.grid[0])
        return torch.arange(self.grid[0]).repeat_interleave(channels // self.grid[0])

    @staticmethod
    def differs() -> ValueError:
        expected = "the same maps for the same images"
        causes = "is dropout active, or does f remember earlier calls?"
        return ValueError(f"expected f to return {expected}, got others at another call: {causes}")

    @staticmethod
    def mixes(image: int) -> ValueError:
        got = f"maps of other images that depend on image {image}"
        cause = "batch normalisation in training mode, for example, does so"
        return ValueError(f"expected f to compute each image of a batch alone, got {got}: {cause}")

    def _named(self, images: Tensor) -> str:
        values = "normally distributed" if self._levels is None else f"integers in [0, {self._levels})"
        return f"{tuple(images.shape)} of {images.dtype}, {values}"


def _copied(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    def cast(tensor: Tensor) -> Tensor:
        if tensor.is_complex():
            return tensor.to(dtype.to_complex())
        return tensor.to(dtype) if tensor.is_floating_point() else tensor

    try:
        return copy.deepcopy(module)._apply(cast)
    except Exception as error:  # a user's module may hold anything
        expected = "a module that copy.deepcopy() can copy, or a function such as lambda x: module(x)"
        raise ValueError(f"expected f to be {expected}, got {type(module).__name__}: {reason(error)}") from error
