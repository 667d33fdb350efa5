"""The codec's samplers, which encode images, decode them or measure memory."""

import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .. import functional
from ..incremental.grid import Grid
from ..incremental.network import Network, PixelModel, RowNetwork
from ..incremental.range_coder import Streams
from ..incremental.recording import Operation, Recording
from ..incremental.rows import Rows
from ..incremental.run import make_runners, run_rows
from ..incremental.steps import Decode, Encode
from ..sampling import Draws, Progress
from .model import Recordings

RECURRENT = (functional.row_lstm, functional.diagonal_bilstm)
UNDECODABLE = "the condition is not the file's, the file was forged, or arithmetic here is not exact"
# The memory for coding one image is a constant, plus a number of bytes for each column, plus a number of bytes for each
# pixel. A MemoryCost has these three numbers as exact fractions, because the number of streams in a file depends on
# them.
MemoryCost = tuple[Fraction, Fraction, Fraction]
# Limits a pass of a convolutional network, so that its feature maps fit into a CPU's cache.
_PIXELS_PER_PASS = 2**14


class ImageGroup(NamedTuple):
    """Images of one size, integers (N, C, H, W), and their condition, if the model takes one."""

    images: Tensor
    condition: Tensor | None

    @property
    def n(self) -> int:
        return self.images.shape[0]

    @property
    def rows(self) -> int:
        return self.n * self.images.shape[2]

    def select(self, index: Tensor) -> "ImageGroup":
        """Returns some images as int64, so that only those that are coded at once take 8 bytes a value."""
        return ImageGroup(self.images[index].long(), _select_condition(self.condition, index))


def _select_condition(condition: Tensor | None, index: Tensor | slice) -> Tensor | None:
    return condition if condition is None or condition.shape[0] == 1 else condition[index]


class Intervals(NamedTuple):
    """The range coder's intervals of pixel values, (H, W, N, C).

    ``values`` has start << 32 | stop for each interval. ``coded`` is false where the large network of a multi-scale
    model gets a value from the small image.
    """

    values: Tensor
    coded: Tensor

    def bits(self) -> Tensor:
        widths = (self.values & 0xFFFFFFFF) - (self.values >> 32)
        return torch.where(self.coded, 24 - widths.double().log2(), 0.0).sum((0, 1, 3))

    def stream_order(self, first: int, last: int) -> Tensor:
        """Orders the ``coded`` intervals by row, column, colour and image."""
        values, coded = (t[:, :, first:last].transpose(2, 3) for t in self)
        # values[coded] would need four indices of 8 bytes for each value, and masked_select two.
        return values.flatten().contiguous() if coded.all() else values.masked_select(coded)


@dataclass
class Encoding:
    """A sampler that encodes given images.

    Each call runs one network of the model, and appends the range-coder intervals of all values to ``parts``.
    """

    grid: Grid
    recordings: Recordings
    parts: list[Intervals] = field(default_factory=list)

    def __call__(
        self, model: PixelModel, draws: Draws, condition: Tensor | None = None, progress: Progress | None = None
    ) -> Tensor:
        n, colours, height, width = draws.values.shape
        recording = self.recordings[model]
        recurrent = any(layer.function in RECURRENT for layer in recording.layers())
        batch_size = max(n if recurrent else _PIXELS_PER_PASS // (height * width), 1)
        intervals = torch.empty(height, width, n, colours, dtype=torch.int64)
        levels = _scaled(model, torch.arange(model.levels), self.grid)
        for first in range(0, max(n, 1), batch_size):
            batch = slice(first, first + batch_size)
            images, condition_part = draws.values[batch], _select_condition(condition, batch)
            network: Network
            if recurrent:
                network = RowNetwork(model, len(images), width, condition_part, self.grid, recording)
            else:
                network = _BandNetwork(recording, self.grid, _scaled(model, images, self.grid), condition_part)
            rows = network.rows
            values, row_intervals = rows.buffer(colours, torch.int64), rows.buffer(colours, torch.int64)
            steps = [Encode(network.output, values, row_intervals, levels, network.input, k) for k in range(colours)]
            runners = make_runners(model.backend, network, steps)
            for r in run_rows(network, runners, [(values, images)]):
                intervals[r, :, batch] = row_intervals[rows.margin :]
                if progress and n:
                    progress(height * first + len(images) * (r + 1), height * n)
        self.parts.append(Intervals(intervals, ~draws.known.permute(2, 3, 0, 1)))
        return draws.values


@dataclass
class Decoding:
    """A sampler that decodes ``streams``.

    A call raises ValueError if a stream ends before its images are complete.
    """

    grid: Grid
    recordings: Recordings
    streams: Streams

    def __call__(self, model: PixelModel, draws: Draws, condition: Tensor | None, progress: Progress | None) -> Tensor:
        n, colours, height, width = draws.values.shape
        network = RowNetwork(model, n, width, condition, self.grid, self.recordings[model])
        rows = network.rows
        known, values = rows.buffer(colours, torch.bool), rows.buffer(colours, torch.int64)
        levels = _scaled(model, torch.arange(model.levels), self.grid)
        operands = network.output, known, values, levels, network.input
        steps = [Decode(*operands, colour, self.streams) for colour in range(colours)]
        images = torch.empty_like(draws.values)
        runners = make_runners(model.backend, network, steps)
        for r in run_rows(network, runners, [(known, draws.known), (values, draws.values)]):
            if self.streams.past_end():
                raise ValueError(f"{UNDECODABLE}: a stream ends before its images do")
            images[:, :, r : r + 1] = rows.map(values)
            if progress:
                progress(r + 1, height)
        return images


@dataclass
class Measuring:
    """A sampler that draws nothing. It appends the memory cost of each network of the model to ``costs``.

    The images must have ``side`` x ``side`` pixels.
    """

    grid: Grid
    recordings: Recordings
    side: int
    costs: list[MemoryCost] = field(default_factory=list)

    def __call__(self, model: PixelModel, draws: Draws, condition: Tensor | None, progress: Progress | None) -> Tensor:
        _, colours, height, width = draws.values.shape
        network = RowNetwork(model, 0, width, condition, self.grid, self.recordings[model])
        value = colours * (torch.int64.itemsize + torch.bool.itemsize)
        column = network.rows.bytes_per_column + value
        # This memory cost includes the channels of the condition twice, because the network and the codec both keep a
        # copy of the condition.
        maps = network.map_channels + (0 if condition is None else 2 * condition.shape[1])
        pixel = maps * network.rows.dtype.itemsize + value
        columns, pixels = Fraction(width, self.side), Fraction(height * width, self.side**2)
        self.costs.append((Fraction(column * network.rows.margin), column * columns, pixel * pixels))
        return draws.values


def transposed_cost(layer: nn.ConvTranspose2d) -> MemoryCost:
    """Returns the memory cost of a transposed convolution.

    torch stores the products with all elements of the kernel before it adds the products.
    """
    taps = Fraction(math.prod(layer.kernel_size), math.prod(layer.stride))
    return Fraction(), Fraction(), (layer.in_channels + layer.out_channels * (1 + taps)) * torch.float64.itemsize


class _BandNetwork(Network):
    """A convolutional network that computes the logits of given images in bands of rows.

    A band's feature maps fit into a CPU's cache. Sums are exact, so bands do not change the logits.
    """

    def __init__(self, recording: Recording, grid: Grid, images: Tensor, condition: Tensor | None) -> None:
        n, colours, height, width = images.shape
        self._recording, self._grid, self._images = recording, grid, images
        maps: dict[Operation, Any] = {} if recording.condition is None else {recording.condition: condition}
        for operation in recording.operations:
            if operation not in recording.image_dependent:
                maps[operation] = self._result(operation, maps)
        read = {read for operation in recording.image_dependent for read in operation.inputs}
        self._maps = {operation: map for operation, map in maps.items() if operation in read}
        self._last_uses = recording.last_uses()
        self._above = sum(layer.kwargs["weight"].shape[2] // 2 for layer in recording.layers())
        # Each band also computes ``_above`` rows above it, so a band of few rows would mostly repeat work.
        self._height = height
        if height * width > _PIXELS_PER_PASS:
            self._height = max(_PIXELS_PER_PASS // width, 2 * self._above, 1)
        self._logits = self._band(0)
        self.rows = Rows(n, width, 0, images.dtype, images.device, grid)
        self.input, self.output = self.rows.buffer(colours), self.rows.buffer(self._logits.shape[1])

    def begin_row(self, row: int) -> None:
        within = row % self._height
        if row and not within:
            del self._logits
            self._logits = self._band(row)
        self.rows.map(self.output).copy_(self._logits[:, :, within : within + 1])

    def _band(self, row: int) -> Tensor:
        top = max(row - self._above, 0)
        rows = slice(top, row + self._height)
        results = {o: map[:, :, rows] if _has_rows(map) else map for o, map in self._maps.items()}
        results[self._recording.input] = self._images[:, :, rows]
        for operation in self._recording.operations:
            if operation in self._recording.image_dependent:
                results[operation] = self._result(operation, results)
                for read in self._last_uses[operation]:
                    results.pop(read)
        return results[self._recording.output][:, :, row - top :]

    def _result(self, operation: Operation, results: dict[Operation, Any]) -> Any:
        result = operation.compute(results, torch.float64)
        if not isinstance(result, Tensor) or not result.is_floating_point() or operation.is_relu:
            return result
        if operation in self._recording.image_dependent:
            return self._grid.quantize_(result)
        return self._grid.quantized(result.double())


def _has_rows(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dim() == 4 and value.shape[2] > 1


def _scaled(model: PixelModel, values: Tensor, grid: Grid) -> Tensor:
    return grid.rounded(model.scaled(values))
