"""What coding makes of images and of streams: samplers (pixelrnn_ext.sampling), so that a model's own wiring says in
what order its networks go over them."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn

from ..incremental.grid import Grid
from ..incremental.network import PixelModel, RowNetwork, is_relu, trace
from ..incremental.rows import Rows
from ..incremental.run import Network, each_row
from ..incremental.states import State
from ..incremental.steps import Decode, Encode, Step
from ..incremental.streams import Streams
from ..layers import DiagonalBiLSTM, MaskedConv2d, RowLSTM
from ..sampling import Draws, Progress
from .batches import condition_of

RECURRENT = (RowLSTM, DiagonalBiLSTM)
# A file that is whole, of this model, and does not decode.
WRONG = "the condition is not the file's, the file was forged, or arithmetic here is not exact"
_PIXELS = 2**14  # of a pass, which reads and writes each map several times: they should stay in a cache


class Intervals(NamedTuple):
    """What of [0, 2**24) is each value's, start << 32 | stop, and whether it is coded: (H, W, N, C), the order in which
    a network takes them but for N and C."""

    values: Tensor
    coded: Tensor

    def bits(self) -> Tensor:
        """Of each image, (N,) of float64."""
        widths = (self.values & 0xFFFFFFFF) - (self.values >> 32)
        return torch.where(self.coded, 24 - widths.double().log2(), 0.0).sum((0, 1, 3))

    def of_block(self, first: int, last: int) -> Tensor:
        """Those of some images that are coded, in the order of a stream: row, column, colour, image."""
        values, coded = (t[:, :, first:last].transpose(2, 3) for t in self)
        return values[coded]


class Encoding:
    """Draws nothing: ``parts`` gets the intervals of the given images' values, for each network of the model."""

    grid: Grid
    parts: list[Intervals]

    def __init__(self, grid: Grid) -> None:
        self.grid, self.parts = grid, []

    def __call__(
        self, model: PixelModel, draws: Draws, condition: Tensor | None = None, progress: Progress | None = None
    ) -> Tensor:
        n, colours, height, width = draws.values.shape
        recurrent = any(isinstance(module, RECURRENT) for _, module in model.named_modules())
        together = max(n if recurrent else _PIXELS // (height * width), 1)
        graph = None if recurrent else trace(model, condition is not None)
        intervals = torch.empty(height, width, n, colours, dtype=torch.int64)
        for first in range(0, max(n, 1), together):
            some = slice(first, first + together)
            images, told = draws.values[some], condition_of(condition, some)
            network: Network
            if graph is None:
                network = RowNetwork(model, len(images), width, told, self.grid)
            else:
                assert isinstance(model, nn.Module)
                network = _Passes(_OnGrid(model, self.grid, graph), _scaled(model, images, self.grid), told)
            for r, row in self._rows(model, network, images):
                intervals[r, :, some] = row
                if progress and n:
                    progress(height * first + len(images) * (r + 1), height * n)
        self.parts.append(Intervals(intervals, ~draws.known.permute(2, 3, 0, 1)))
        return draws.values

    def _rows(self, model: PixelModel, network: Network, images: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Each row's number, and its intervals (W, N, C)."""
        rows, colours = network.rows, images.shape[1]
        values, intervals = rows.buffer(colours, torch.int64), rows.buffer(colours, torch.int64)
        levels = _scaled(model, torch.arange(model.levels), self.grid)
        steps: list[Step] = [
            Encode(network.output, values, intervals, levels, network.input, k) for k in range(colours)
        ]
        for r in each_row(model, network, steps, [(values, images)]):
            yield r, intervals[rows.margin :]


class Decoding:
    """Draws the values that streams say.

    Raises:
        ValueError: a stream ends before its images do.
    """

    grid: Grid
    streams: Streams

    def __init__(self, grid: Grid, streams: Streams) -> None:
        self.grid, self.streams = grid, streams

    def __call__(
        self, model: PixelModel, draws: Draws, condition: Tensor | None = None, progress: Progress | None = None
    ) -> Tensor:
        n, colours, height, width = draws.values.shape
        network = RowNetwork(model, n, width, condition, self.grid)
        rows = network.rows
        known, values = rows.buffer(colours, torch.bool), rows.buffer(colours, torch.int64)
        levels = _scaled(model, torch.arange(model.levels), self.grid)
        steps: list[Step] = [
            Decode(network.output, known, values, levels, network.input, k, self.streams) for k in range(colours)
        ]
        images = torch.empty_like(draws.values)
        for r in each_row(model, network, steps, [(known, draws.known), (values, draws.values)]):
            if self.streams.past_end():
                raise ValueError(f"{WRONG}: a stream ends before its images do")
            images[:, :, r : r + 1] = rows.map(values)
            if progress:
                progress(r + 1, height)
        return images


class Measuring:
    """Draws nothing, of no image: ``needs`` gets what parts of the coding of an image of ``height`` and ``width`` take.

    Each has bytes that no size changes, those of a column and those of a pixel.
    """

    grid: Grid
    needs: list[tuple[float, float, float]]

    def __init__(self, model: nn.Module, grid: Grid, height: int, width: int) -> None:
        self.grid = grid
        self._width, self._pixels = width, height * width
        self.needs = [
            (0.0, 0.0, _bytes_of_transposed(module))
            for module in model.modules()
            if isinstance(module, nn.ConvTranspose2d)
        ]

    def __call__(
        self, model: PixelModel, draws: Draws, condition: Tensor | None = None, progress: Progress | None = None
    ) -> Tensor:
        _, colours, height, width = draws.values.shape
        network = RowNetwork(model, 0, width, condition, self.grid)
        value = colours * (torch.int64.itemsize + torch.bool.itemsize)
        column = network.rows.bytes_of_column + value
        # A condition is made of parts, or copied; the values are, where some are known.
        maps = network.map_channels + (0 if condition is None else 2 * condition.shape[1])
        pixel = maps * network.rows.dtype.itemsize + value
        part = height * width / self._pixels
        self.needs.append((column * network.rows.margin, column * width / self._width, pixel * part))
        return draws.values


def _bytes_of_transposed(layer: nn.ConvTranspose2d) -> float:
    """What a pixel of its output takes: torch computes all products before it adds them up."""
    taps = math.prod(layer.kernel_size) / math.prod(layer.stride)
    return (layer.in_channels + layer.out_channels * (1 + taps)) * torch.float64.itemsize


class _Passes(State):
    """A network without recurrences over images that are given: a pass for each band of rows, with the rows above that
    it reads.

    Exact sums have no order, so that its logits are those of the steps.
    """

    rows: Rows
    input: Tensor
    output: Tensor

    def __init__(self, network: "_OnGrid", images: Tensor, condition: Tensor | None) -> None:
        n, colours, height, width = images.shape
        self._network, self._images = network, images
        self._maps = network.known(condition)
        layers = [network.submodules.get(str(node.target)) for node in network.graph.nodes]
        self._above = sum(layer.kernel_size[0] // 2 for layer in layers if isinstance(layer, MaskedConv2d))
        # At worst half of a band is computed once more.
        self._height = height if height * width <= _PIXELS else max(_PIXELS // width, 2 * self._above, 1)
        self._logits = self._band(0)
        self.rows = Rows(n, width, 0, images.dtype, images.device, network.grid)
        self.input, self.output = self.rows.buffer(colours), self.rows.buffer(self._logits.shape[1])

    def begin_row(self, row: int) -> None:
        within = row % self._height
        if row and not within:
            del self._logits  # before there are others
            self._logits = self._band(row)
        self.rows.fill(self.output, self._logits[:, :, within : within + 1])

    def _band(self, row: int) -> Tensor:
        """The logits of the rows from ``row`` on."""
        top = max(row - self._above, 0)
        rows = slice(top, row + self._height)
        maps = {node: map if map is None or map.shape[2] == 1 else map[:, :, rows] for node, map in self._maps.items()}
        return self._network.run(self._images[:, :, rows], initial_env=maps)[:, :, row - top :]


class _OnGrid(fx.Interpreter):
    """Runs a graph whose every value is a layer's output, which nothing else has."""

    def __init__(self, model: nn.Module, grid: Grid, graph: fx.Graph) -> None:
        super().__init__(model, graph=graph)
        self.grid = grid

    def known(self, condition: Tensor | None) -> dict[fx.Node, Any]:
        """The maps that do not depend on the images, the first of the graph's inputs, and that others read which do."""
        images, *others = self.graph.find_nodes(op="placeholder")
        self.env = dict.fromkeys(others, condition)
        depend = {images}
        for node in self.graph.nodes:
            if not depend.isdisjoint(node.all_input_nodes):
                depend.add(node)
            elif node.op != "placeholder":
                self.env[node] = self.run_node(node)
        inputs = {node for other in depend for node in other.all_input_nodes}
        return {node: value for node, value in self.env.items() if node in inputs or node in others}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        on_grid = n.op in ("placeholder", "output") or not isinstance(value, Tensor) or is_relu(n, self.submodules)
        return value if on_grid else self.grid.write_(value)


def _scaled(model: PixelModel, values: Tensor, grid: Grid) -> Tensor:
    """What the network reads of values."""
    return grid.rounded(model.scaled(values))
