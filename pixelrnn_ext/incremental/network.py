"""A network of masked layers, run row by row: its graph, traced from the model's own wiring, as layer states and
steps."""

import operator
from collections.abc import Iterator
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from ..layers import DiagonalBiLSTM, MaskedConv2d, RowLSTM
from .grid import Grid
from .rows import Rows
from .states import DiagonalBiLSTMState, MaskedConvState, PointwiseState, RowLSTMState, State
from .steps import Step

Layer = MaskedConv2d | RowLSTM | DiagonalBiLSTM
_LAYERS = (MaskedConv2d, RowLSTM, DiagonalBiLSTM)
_RELUS = (F.relu, torch.relu, F.relu_, torch.relu_, "relu", "relu_")
_NO_LAYERS = "expected a network of masked layers, ReLUs and sums, got {}"
_SUMS = (operator.add, operator.iadd, torch.add, "add", "add_")


class PixelModel(Protocol):
    """What sampling asks of a model, which is a torch.nn.Module."""

    image_channels: int
    levels: int
    backend: str

    def __call__(self, images: Tensor, condition: Tensor | None = None, /) -> Tensor: ...

    def scaled(self, values: Tensor) -> Tensor: ...

    def parameters(self) -> Iterator[nn.Parameter]: ...

    def named_modules(self) -> Iterator[tuple[str, nn.Module]]: ...


class _Tracer(fx.Tracer):
    traced_func_name = "logit_map"

    def is_leaf_module(self, module: nn.Module, qualified_name: str) -> bool:
        return isinstance(module, _LAYERS) or super().is_leaf_module(module, qualified_name)


class RowNetwork:
    """The network ``model.logit_map`` for ``images`` images of ``width`` columns.

    ``input`` is the buffer of the scaled image, ``output`` the one of the logits, ``map_channels`` counts those of the
    whole maps that do not depend on the image. Between :meth:`begin_row` and
    :meth:`end_row` of a row, running ``steps(colour)`` at a column gives the logits of that colour, once the pixels and
    colours before it are in ``input``. After :meth:`end_row`, ``mirrored_steps()`` run over the row before the next one
    begins.

    Raises:
        TypeError: the network has something else than masked layers, ReLUs and sums.
    """

    rows: Rows
    image_channels: int
    states: list[State]
    input: Tensor
    output: Tensor
    map_channels: int

    def __init__(
        self, model: PixelModel, images: int, width: int, condition: Tensor | None, grid: Grid | None = None
    ) -> None:
        parameter = next(model.parameters())
        dtype = torch.promote_types(parameter.dtype, torch.float32)
        graph = trace(model, condition is not None)
        modules = dict(model.named_modules())
        layers = [m for m in modules.values() if isinstance(m, _LAYERS)]
        widths = [m.kernel_size[1] if isinstance(m, MaskedConv2d) else max(m.kernel_size, 3) for m in layers]
        self.rows = Rows(images, width, max(widths) // 2, dtype, parameter.device, grid)
        self.image_channels = model.image_channels
        self.states, self.map_channels = [], 0
        self.input = self.rows.buffer(model.image_channels)
        values: dict[fx.Node, Tensor] = {}
        for node in _needed(graph):
            args: tuple[Any, ...] = fx.node.map_arg(node.args, values.get)
            if node.op == "placeholder":
                values[node] = self.input if condition is None or node.target != "condition" else condition.to(dtype)
            elif node.op == "output":
                self.output = args[0]
            else:
                values[node] = self._value(node, modules, args)

    def _value(self, node: fx.Node, modules: dict[str, nn.Module], args: tuple[Any, ...]) -> Tensor:
        """A buffer, or, of what does not depend on the image, the whole map."""
        module = modules[str(node.target)] if node.op == "call_module" else None
        if isinstance(module, _LAYERS):
            state = _state_of(module, self.rows, *args)
        elif all(isinstance(a, Tensor) and a.dim() == 4 for a in args):
            return self._known(node, module, args)
        elif is_relu(node, modules):
            state = PointwiseState(list(args[:1]), self.rows, self.image_channels, relu=True)
        elif node.target in _SUMS and len(args) == 2 and not node.kwargs:
            state = PointwiseState(list(args), self.rows, self.image_channels, relu=False)
        else:
            raise TypeError(_NO_LAYERS.format(node.format_node()))
        self.states.append(state)
        return state.output

    def _known(self, node: fx.Node, module: nn.Module | None, args: tuple[Any, ...]) -> Tensor:
        value = self._map(node, module, args)
        self.map_channels += value.shape[1]
        grid = self.rows.grid
        if grid is None:
            return value
        return grid.written(value) if module is None else grid.write_(value)  # a module's is nobody else's

    def _map(self, node: fx.Node, module: nn.Module | None, args: tuple[Any, ...]) -> Tensor:
        if module is not None:
            weights = {name: p.detach().to(self.rows.dtype) for name, p in module.named_parameters()}
            return torch.func.functional_call(module, weights, args).detach()
        if node.op == "call_method":
            return getattr(args[0], str(node.target))(*args[1:], **node.kwargs)
        if isinstance(node.target, str):
            raise TypeError(_NO_LAYERS.format(node.format_node()))
        return node.target(*args, **node.kwargs)

    def begin_row(self, row: int) -> None:
        for state in self.states:
            state.begin_row(row)

    def steps(self, colour: int) -> list[Step]:
        return [step for state in self.states for step in state.steps(colour)]

    def end_row(self, row: int) -> None:
        for state in self.states:
            state.end_row(row)

    def mirrored_steps(self) -> list[Step]:
        return [step for state in self.states for step in state.mirrored_steps()]


def is_relu(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    return node.target in _RELUS or isinstance(modules.get(str(node.target)), nn.ReLU)


def trace(model: PixelModel, conditional: bool) -> fx.Graph:
    """The network of a model, whose nodes are its layers and the arithmetic between them.

    Raises:
        TypeError: a value is changed in place, and it is no sum and no ReLU, or is read later.
    """
    graph = _Tracer().trace(model, concrete_args=None if conditional else {"condition": None})
    modules = dict(model.named_modules())
    read_later: set[fx.Node] = set()
    for node in reversed(graph.nodes):
        if _is_in_place(node, modules):
            relu = is_relu(node, modules)
            if node.all_input_nodes[0] in read_later or not (relu or node.target in _SUMS):
                raise TypeError(f"expected a network that changes no value in place, got {node.format_node()}")
            node.op, node.target = "call_function", F.relu if relu else torch.add
            if relu:
                node.args, node.kwargs = node.args[:1], {}
        read_later.update(node.all_input_nodes)
    return graph


def _is_in_place(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    if node.op == "call_module":
        return bool(getattr(modules[str(node.target)], "inplace", False))
    if node.op not in ("call_method", "call_function"):
        return False
    if node.target is F.relu:
        return bool(node.kwargs.get("inplace")) or True in node.args[1:]
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    return name == "iadd" or (name.endswith("_") and not name.endswith("__"))


def _state_of(layer: Layer, rows: Rows, input: Tensor, gate_bias: Tensor | None = None) -> State:
    """The state of one of _LAYERS, whose input is a buffer and whose ``gate_bias`` is a map."""
    if isinstance(layer, MaskedConv2d):
        return MaskedConvState(layer, rows, input)
    if isinstance(layer, RowLSTM):
        return RowLSTMState(layer, rows, input, gate_bias)
    return DiagonalBiLSTMState(layer, rows, input, gate_bias)


def _needed(graph: fx.Graph) -> list[fx.Node]:
    """The nodes that the output depends on, in order."""
    needed: set[fx.Node] = set()
    for node in reversed(graph.nodes):
        if node.op == "output" or node in needed:
            needed.update(node.all_input_nodes, [node])
    return [node for node in graph.nodes if node in needed]
