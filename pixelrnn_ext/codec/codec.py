import itertools
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from .._arguments import integer
from .._dynamo import never_compiled
from .._sentences import counted
from ..incremental import range_coder
from ..incremental.grid import PROFILES
from ..incremental.run import why_not_native
from ..incremental.wrappers import has_global_hooks, unwrapped
from ..operators import columns
from ..operators.autocast import without_autocast
from ..operators.operands import check_levels, concrete_tensor
from ..sampling import Draws, Progress, Report, SamplerFunction
from . import coding, container, self_check
from .coding import ImageGroup, Intervals
from .container import Bytes, Contents, Group, Span
from .model import fingerprint, prepared_copy, record_networks

Images = Tensor | Sequence[Tensor]
Condition = Tensor | Sequence[Tensor] | None
Result = TypeVar("Result")

PROFILE = 0
# A stream is a part of a file that is decoded independently. By default, a stream has about STREAM_BYTES bytes.
STREAM_BYTES = 8192
# Encoding a batch of images, or decoding a stream, takes about this number of bytes at most. A single large image may
# take more.
MEMORY_AT_ONCE = 256 << 20


@contextmanager
def _no_torch_modes() -> Iterator[None]:
    with torch._C.DisableTorchFunction():
        yield


class Codec:
    """A lossless codec of images. A model that predicts better gives smaller files.

    The codec computes the probability of every pixel value exactly (docs/compression.md). So neither the file
    nor the decoded images depend on the instruction set, number of threads, batch size and library version. The codec
    always runs on the CPU. Only the model that encoded a file can decode it: keep the checkpoint as long as the file.

    The attribute ``fingerprint`` is 8 bytes that identify the model. Models with equal fingerprints can decode each
    other's files.

    Args:
        model: a PixelRNN, PixelCNN or MultiScalePixelRNN. The codec keeps a copy, so later changes have no effect.
        map: computes the batches of a file, by default the built-in ``map``. A function of the same arguments may
            divide them among processes.

    Raises:
        TypeError: the model is of another class, or it has hooks or operations that a codec cannot run exactly.
        ValueError: the model has a parameter that is not finite. Or its weights are so large that sums would not be
            exact. Or it has more than 4096 levels, that is, values that a pixel can have.
        RuntimeError: the arithmetic of this process is not exact. With ``backend="reference"`` or without compiled
            kernels, every call checks this again.

    Example:
        >>> from pixelrnn_ext.codec import Codec
        >>> codec = Codec(PixelCNN(image_channels=1, levels=2, hidden_channels=8, num_layers=1))
        >>> images = torch.zeros(3, 1, 8, 8, dtype=torch.uint8)
        >>> torch.equal(codec.decompress(codec.compress(images)), images.long())
        True
    """

    @never_compiled
    def __init__(self, model: Any, *, map: Callable[..., Iterable[Any]] = map) -> None:
        if not all(hasattr(model, name) for name in ("logit_map", "levels", "_draw")) and not hasattr(model, "factor"):
            raise TypeError(f"expected a PixelRNN, PixelCNN or MultiScalePixelRNN, got {type(model).__name__}")
        if model.levels > range_coder.MAX_LEVELS:
            raise ValueError(f"expected a model of at most {range_coder.MAX_LEVELS} levels, got {model.levels}")
        device = next(model.parameters()).device
        if device.type != "cpu":
            warnings.warn(f"coding runs on the CPU: the model is copied there from {device}", stacklevel=3)
        self._map = map
        self._grid = PROFILES[PROFILE]
        backends = {getattr(module, "backend", "auto") for module in model.modules()}
        self._all_native = all(why_not_native(backend, torch.device("cpu")) is None for backend in backends)
        with _no_torch_modes():
            self._check_threads()
            self._model = prepared_copy(model, self._grid)
        self._recordings = record_networks(unwrapped(model), self._model)
        self._native = why_not_native(self._model.backend, torch.device("cpu")) is None
        with _no_torch_modes():
            self.fingerprint: bytes = fingerprint(self._model, self._grid, self._recordings)
            for backend in backends:
                self_check.check(backend, self._grid)
        self._costs: list[coding.MemoryCost] = []

    @never_compiled
    @_no_torch_modes()
    def compress(
        self,
        images: Tensor | Sequence[Tensor],
        condition: Tensor | Sequence[Tensor] | None = None,
        *,
        streams: int | None = None,
        batch_size: int = 64,
        progress: bool | Progress = False,
    ) -> bytes:
        """Compresses images, and returns the bytes of a file.

        Args:
            images: a tensor (N, C, H, W) of N images with C colours, H rows and W columns. The pixels are integers in
                [0, levels). For images of several sizes, pass a sequence of such tensors. Each tensor is a *group* of
                the file. The codec takes memory for the values of one group, so several tensors of one size need less.
            condition: for a model with ``condition_channels``, a tensor that can be broadcast to
                (N, condition_channels, H, W), or one such tensor for each tensor of images. The file does not contain
                it, so decompressing needs it again.
            streams: the number of streams for each tensor of images, at most one for each image. A stream is a part of
                the file that one thread decodes. It adds two to four bytes. By default, a stream has about 8 KiB.
            batch_size: the most images that are computed at once. The file does not depend on it.
            progress: a function, called with (rows done, all rows) after every row of pixels. True writes to stderr.

        Raises:
            TypeError, ValueError: an argument does not fit the model. The images are checked as in ``log_prob``.
        """
        if streams is not None:
            streams = integer("streams", streams)
        tensors, write = self._checked_images(images), partial(self._group, streams=streams)
        groups = list(self._encoded(tensors, condition, batch_size, progress, write))
        return container.write(Contents(PROFILE, self.fingerprint, container.checksum(tensors), groups))

    @never_compiled
    @_no_torch_modes()
    def bits(
        self,
        images: Tensor | Sequence[Tensor],
        condition: Tensor | Sequence[Tensor] | None = None,
        *,
        batch_size: int = 64,
        progress: bool | Progress = False,
    ) -> Tensor:
        """Returns the number of bits that :meth:`compress` needs for the pixels of each image, float64 of shape (N,).

        Excludes the file's header and the bytes that end a stream. Arguments and errors are those of :meth:`compress`.
        """

        def add(_: ImageGroup, parts: list[Intervals]) -> Tensor:
            return torch.stack([part.bits() for part in parts]).sum(0)

        found = list(self._encoded(self._checked_images(images), condition, batch_size, progress, add))
        return torch.cat(found) if found else torch.zeros(0, dtype=torch.float64)

    @never_compiled
    @_no_torch_modes()
    def decompress(
        self,
        data: bytes | bytearray | memoryview,
        condition: Tensor | Sequence[Tensor] | None = None,
        *,
        max_bytes: int = 2**32,
        batch_size: int = 64,
        progress: bool | Progress = False,
    ) -> Tensor:
        """Returns the N images of a file, int64 of shape (N, C, H, W), with C colours, H rows and W columns.

        Args:
            data: the bytes of the file.
            condition, progress: as in :meth:`compress`.
            max_bytes: the most memory, in bytes, that the images and their decoding may take together.
            batch_size: the approximate number of images that are decoded at once.

        Raises:
            TypeError: ``data`` is not bytes.
            ValueError: ``data`` is not a file of this codec, or is damaged or incomplete. Or the file was written with
                another model or another condition. Or decoding would take more memory than ``max_bytes``. Or the file
                has images of several sizes, which :meth:`decompress_groups` decodes.
        """
        contents = self._read(data)
        counts, sizes = [group.images for group in contents.groups], {group[1:3] for group in contents.groups}
        if len(sizes) != 1:
            raise ValueError(f"expected a file with images of one size, got {len(sizes)} sizes: call decompress_groups")
        if len(counts) > 1 and isinstance(condition, Tensor):
            self._model._check_condition(condition, sum(counts), *sizes.pop())
            condition = condition.expand(sum(counts), -1, -1, -1).split(counts)
        copies = min(len(counts), 2)
        return _joined(list(self._decoded(contents, condition, max_bytes, batch_size, progress, copies)))

    @never_compiled
    @_no_torch_modes()
    def decompress_groups(
        self,
        data: bytes | bytearray | memoryview,
        condition: Tensor | Sequence[Tensor] | None = None,
        *,
        max_bytes: int = 2**32,
        batch_size: int = 64,
        progress: bool | Progress = False,
    ) -> list[Tensor]:
        """Returns the images of a file that may have several sizes, one tensor for each tensor that was compressed.

        The arguments and errors are those of :meth:`decompress`, but several sizes are no error.
        """
        return list(self._decoded(self._read(data), condition, max_bytes, batch_size, progress, copies=1))

    def iterate_groups(
        self,
        data: bytes | bytearray | memoryview,
        condition: Tensor | Sequence[Tensor] | None = None,
        *,
        max_bytes: int = 2**32,
        batch_size: int = 64,
        progress: bool | Progress = False,
    ) -> Iterator[Tensor]:
        """Yields the tensors of :meth:`decompress_groups` one after the other, without keeping them.

        The checksum of the images is compared after the last tensor, so use no image before the iteration ends.
        ``max_bytes`` limits the memory for two tensors, because a loop still has one while the next one is decoded.
        """
        groups = self._decoded(self._read(data), condition, max_bytes, batch_size, progress, copies=0)
        while True:
            with _no_torch_modes():
                images = next(groups, None)
            if images is None:
                return
            yield images

    def _read(self, data: Bytes) -> Contents:
        contents = container.read(data)
        if contents.profile != PROFILE:
            raise ValueError(f"expected a file of arithmetic profile {PROFILE}, got one of {contents.profile}")
        if contents.fingerprint != self.fingerprint:
            expected, got = self.fingerprint.hex(), contents.fingerprint.hex()
            raise ValueError(f"expected a file that was written with this model, {expected}, got one of {got}")
        return contents

    def _checked_images(self, images: Images) -> list[Tensor]:
        if not isinstance(images, Iterable):
            raise TypeError(f"expected a Tensor of images or several, got {type(images).__name__}")
        found = []
        for tensor in [images] if isinstance(images, Tensor) else images:
            self._model._check_images(tensor, check=False)
            found.append(_on_cpu("images", tensor))
            check_levels("images", found[-1], self._model.levels)
            # Batches bound the memory for several images, so only one image must fit.
            self._model._check_images(found[-1][:1])
        return found

    def _encoded(
        self,
        tensors: list[Tensor],
        condition: Condition,
        batch_size: int,
        progress: bool | Progress,
        finish: Callable[[ImageGroup, list[Intervals]], Result],
    ) -> Iterator[Result]:
        """Yields the result of ``finish`` for each group. Only the intervals of one group are in memory."""
        self._check_threads()
        batch_size = integer("batch_size", batch_size)
        report = Report(progress, _rows(tensors))
        for group in self._image_groups(tensors, condition):
            indices = torch.arange(group.n).split(min(batch_size, self._images_at_once(group)))
            batches = self._map(partial(self._encode_batch, group, report), indices)
            yield finish(group, [Intervals(*(torch.cat(fields, 2) for fields in zip(*p))) for p in zip(*batches)])
        self._check_threads()

    def _encode_batch(self, group: ImageGroup, report: Report, index: Tensor) -> list[Intervals]:
        encoding = coding.Encoding(self._grid, self._recordings)
        self._run(encoding, group.select(index), report)
        return encoding.parts

    def _group(self, group: ImageGroup, parts: list[Intervals], streams: int | None) -> Group:
        if streams is None:
            # The number of streams depends on the size of the encoded data. The images are encoded once only to get
            # this size, because an estimate would differ between machines, and so would the files.
            size = len(self._encode(_joined([part.stream_order(0, group.n) for part in parts])))
            at_once = self._images_at_once(group)
            needed = -(-group.n // at_once) if at_once < container.BLOCK else 1
            streams = max(size // STREAM_BYTES, needed)
        data = [
            self._encode(_joined([part.stream_order(*block) for block in container.blocks(*span) for part in parts]))
            for span in container.stream_spans(group.n, min(streams, group.n))
        ]
        _, _, height, width = group.images.shape
        return Group(group.n, height, width, data)

    def _encode(self, intervals: Tensor) -> bytes:
        return columns.range_encode(intervals) if self._native else range_coder.encode(intervals)

    def _decoded(
        self,
        contents: Contents,
        condition: Condition,
        max_bytes: int,
        batch_size: int,
        progress: bool | Progress,
        copies: int,
    ) -> Iterator[Tensor]:
        """Yields the images of each group.

        ``copies`` is the number of copies of all images that the caller keeps. It is 0 for a caller that keeps the
        images of a group only until it gets the next group.
        """
        self._check_threads()
        batch_size = integer("batch_size", batch_size)
        channels, max_bytes = self._model.image_channels, integer("max_bytes", max_bytes)
        sizes = [(g.images, channels, g.height, g.width) for g in contents.groups]
        # A group without images counts as one image, so that the memory limit also refuses a huge height or width of
        # such a group.
        group_bytes = [max(n, 1) * math.prod(size) * torch.int64.itemsize for n, *size in sizes]
        image_bytes = copies * sum(group_bytes) or min(len(sizes), 2) * max(group_bytes, default=0)
        needed = image_bytes + max(map(self._bytes_of_block, contents.groups), default=0)
        if needed > max_bytes:
            raise _too_large_error(contents.groups, max_bytes, needed)
        # The images are allocated when their group is decoded. Until then ``empty`` has tensors of their shapes that
        # take no memory, because ``expand`` repeats a single element.
        empty = [torch.zeros((), dtype=torch.int64).expand(size) for size in sizes]
        report, checksum = Report(progress, _rows(empty)), 0
        for group, g in zip(self._image_groups(empty, condition), contents.groups):
            images = torch.empty(group.images.shape, dtype=torch.int64)
            batches = self._stream_batches(g, max_bytes - image_bytes, batch_size)
            # Another process returns the images that it has decoded. This process decodes into ``images`` itself.
            results = self._map(partial(self._decode, group, images, report), batches)
            for (spans, _), decoded in zip(batches, results, strict=True):
                images[spans[0][0] : spans[-1][1]] = decoded
            checksum = container.checksum([images], checksum)
            yield images
        self._check_threads()
        if checksum != contents.checksum:
            raise ValueError(f"{coding.UNDECODABLE}: the images do not have the checksum that was written with them")

    def _stream_batches(self, group: Group, memory: int, batch_size: int) -> list[tuple[list[Span], Sequence[Bytes]]]:
        """Returns batches of streams to decode together in ``memory`` bytes, as ranges of images and streams."""
        streams = group.streams
        if not streams:
            return []
        spans = container.stream_spans(group.images, len(streams))
        wanted = max(torch.get_num_threads(), batch_size // _block(group))
        at_once = min(wanted, memory // self._bytes_of_block(group))
        return [(spans[i : i + at_once], streams[i : i + at_once]) for i in range(0, len(streams), at_once)]

    def _bytes_of_block(self, group: Group) -> int:
        # The memory for a block of images includes the condition (maps that the model reads besides an image). Decoding
        # copies it for the images of the block, and converts the copy from float32 to float64.
        value_bytes = torch.float32.itemsize + torch.float64.itemsize
        selected = self._model.condition_channels * group.height * group.width * value_bytes
        return _block(group) * (self._bytes_of_image(group.height, group.width) + selected)

    def _decode(
        self, group: ImageGroup, images: Tensor, report: Report, batch: tuple[list[Span], Sequence[Bytes]]
    ) -> Tensor:
        """Decodes streams into ``images``. Returns the part of ``images`` that they fill.

        ``batch`` has the streams' ranges of images, which follow each other, and their bytes.
        """
        spans, data = batch
        streams = range_coder.Streams.from_bytes(data)
        decoding = coding.Decoding(self._grid, self._recordings, streams)
        for blocks in itertools.zip_longest(*(container.blocks(*span) for span in spans), fillvalue=(0, 0)):
            index = torch.cat([torch.arange(*block) for block in blocks])
            streams.assign_images([last - first for first, last in blocks])
            images[index] = self._run(decoding, group.select(index), report)
        if not streams.finished():
            raise ValueError(f"{coding.UNDECODABLE}: a stream continues after its images")
        return images[spans[0][0] : spans[-1][1]]

    def _images_at_once(self, group: ImageGroup) -> int:
        return max(1, MEMORY_AT_ONCE // self._bytes_of_image(*group.images.shape[2:]))

    def _bytes_of_image(self, height: int, width: int) -> int:
        model, channels = self._model, self._model.image_channels
        if not self._costs:
            side = getattr(model, "factor", 1)
            measuring = coding.Measuring(self._grid, self._recordings, side)
            condition = torch.zeros(0, model.condition_channels, 1, 1) if model.condition_channels else None
            self._run(measuring, ImageGroup(torch.zeros(0, channels, side, side, dtype=torch.int64), condition), None)
            transposed = [layer for layer in model.modules() if isinstance(layer, nn.ConvTranspose2d)]
            self._costs = [*measuring.costs, *map(coding.transposed_cost, transposed)]
        pixels = height * width
        largest = max(fixed + column * width + pixel * pixels for fixed, column, pixel in self._costs)
        return math.ceil(largest) + channels * pixels * 2 * torch.int64.itemsize

    def _check_threads(self) -> None:
        """Raises RuntimeError if a thread of PyTorch does not use the default floating-point mode.

        A codec that runs only native kernels needs no check, because native kernels set the mode themselves.
        """
        if not self._all_native:
            self_check.check_threads()

    @torch.no_grad()
    def _run(self, sampler: SamplerFunction, group: ImageGroup, report: Report | None) -> Tensor:
        if has_global_hooks() and not any(network is self._model for network in self._recordings):
            raise TypeError("expected no global forward hook while a multi-scale model codes, got one")
        images = group.images
        no_randomness = torch.zeros((), dtype=torch.float64).expand(images.shape)
        draws = Draws(no_randomness, torch.zeros(images.shape, dtype=torch.bool), images, 1.0)
        with without_autocast("cpu"):
            condition = None if group.condition is None else self._grid.quantized(group.condition.double())
            return self._model._draw(sampler, draws, condition, report and report.next_part(group.rows))

    def _image_groups(self, tensors: list[Tensor], condition: Condition) -> Iterator[ImageGroup]:
        """Checks all conditions before it yields the first group.

        It keeps no condition, because a sequence may make a condition whenever it is read.
        """
        conditions: Sequence[Any] = condition if isinstance(condition, Sequence) else [condition]
        if len(conditions) not in (1, len(tensors)):
            raise ValueError(f"expected a condition for each of {len(tensors)} groups, got {len(conditions)}")
        read = [(images, number % len(conditions)) for number, images in enumerate(tensors)]
        for images, number in read:
            self._checked_condition(images, conditions[number])
        for images, number in read:
            yield ImageGroup(images, self._checked_condition(images, conditions[number]))

    def _checked_condition(self, images: Tensor, condition: Tensor | None) -> Tensor | None:
        condition = _on_cpu("a condition", condition) if isinstance(condition, Tensor) else condition
        n, _, height, width = images.shape
        self._model._check_condition(condition, n, height, width)
        if condition is not None and not condition.isfinite().all():
            raise ValueError("expected a finite condition, got infinity or NaN in it")
        return condition


def _on_cpu(name: str, tensor: Tensor) -> Tensor:
    if concrete_tensor(tensor) is None:
        raise ValueError(f"expected {name} with values, got a meta tensor, which has none")
    return tensor.cpu()


def _joined(tensors: list[Tensor]) -> Tensor:
    # torch.cat would copy a single tensor.
    return tensors[0] if len(tensors) == 1 else torch.cat(tensors)


def _rows(tensors: list[Tensor]) -> int:
    return sum(images.shape[0] * images.shape[2] for images in tensors)


def _block(group: Group) -> int:
    return min(container.BLOCK, -(-group.images // len(group.streams))) if group.streams else 0


def _too_large_error(groups: list[Group], max_bytes: int, needed: int) -> ValueError:
    sizes = ", ".join(f"{counted(n, 'image')} of {height}x{width}" for n, height, width, _ in groups[:3])
    more = f" and {counted(len(groups) - 3, 'group')} more" if len(groups) > 3 else ""
    expected = f"a file that decodes within max_bytes {max_bytes}"
    return ValueError(f"expected {expected}, got one of {sizes}{more}, which needs {needed}")
