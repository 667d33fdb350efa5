"""Turns a recorded network of masked layers into layer states, whose steps run the network row by row."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from .. import functional
from .grid import Grid
from .recording import Operation, Recording, record
from .row_steps import RowStep, run_row_steps
from .rows import Rows
from .states import DiagonalBiLSTMState, MaskedConvState, PointwiseState, RowLSTMState, State
from .steps import Step

_STATES: dict[Any, Any] = {
    functional.masked_conv2d: MaskedConvState,
    functional.row_lstm: RowLSTMState,
    functional.diagonal_bilstm: DiagonalBiLSTMState,
}


class PixelModel(Protocol):
    image_channels: int
    levels: int
    condition_channels: int
    backend: str

    def __call__(self, images: Tensor, condition: Tensor | None = None, /) -> Tensor: ...

    def scaled(self, values: Tensor) -> Tensor: ...

    def parameters(self) -> Iterator[nn.Parameter]: ...


class Network:
    """A network that runs row by row, from scaled images in the buffer ``input`` to logits in ``output``."""

    rows: Rows
    input: Tensor
    output: Tensor

    def begin_row(self, row: int) -> None: ...

    def steps(self, colour: int) -> list[Step]:
        return []

    def end_row(self, row: int) -> None: ...

    def mirrored_steps(self) -> list[Step]:
        return []


def pixel_steps(network: Network, value_steps: Sequence[Step]) -> list[Step]:
    """Returns all steps of a pixel: for each colour, the network's steps, then the step that draws or codes a value."""
    return [step for colour, value in enumerate(value_steps) for step in (*network.steps(colour), value)]


class RowNetwork(Network):
    """The layer states and steps of a model, for ``images`` images of ``width`` columns.

    :meth:`begin_row` starts a row and :meth:`end_row` ends it. In between, ``steps(colour)`` compute the logits of a
    colour at a column. They need all earlier pixels and colours in ``input``. After :meth:`end_row`,
    ``mirrored_steps()`` run over the row. ``map_channels`` is the number of channels of maps that do not depend on the
    images. If there is no ``recording``, the constructor records the model. ``capability`` is described in rows.py.
    """

    def __init__(
        self,
        model: PixelModel,
        images: int,
        width: int,
        condition: Tensor | None,
        grid: Grid | None = None,
        recording: Recording | None = None,
        capability: int | None = None,
    ) -> None:
        assert isinstance(model, nn.Module)
        recording = recording or record(model, condition is not None)
        parameter = next(model.parameters())
        dtype = torch.promote_types(parameter.dtype, torch.float32)
        self.rows: Rows = Rows(images, width, _margin(recording), dtype, parameter.device, grid, capability)
        self._image_channels = model.image_channels
        self._states: list[State] = []
        self.map_channels: int = 0
        self.input: Tensor = self.rows.buffer(model.image_channels)
        values: dict[Operation, Any] = {recording.input: self.input}
        if recording.condition is not None and condition is not None:
            values[recording.condition] = condition.to(dtype, copy=True)
        self._recording = recording
        # The maps that steps and row steps read.
        self._kept: dict[Operation, Tensor] = {}
        for operation in recording.operations:
            if operation in recording.image_dependent:
                state = self._make_state(operation, values, recording.image_dependent)
                self._states.append(state)
                values[operation] = state.output
            else:
                values[operation] = result = self._compute_map(operation, values)
                if isinstance(result, Tensor) and result.dim() == 4:
                    self.map_channels += result.shape[1]
        self.output: Tensor = values[recording.output]
        self.before_row: list[RowStep] = [step for state in self._states for step in state.before_row()]
        self.after_row: list[RowStep] = [step for state in self._states for step in state.after_row()]

    def _make_state(self, operation: Operation, values: dict[Operation, Any], image_dependent: set[Operation]) -> State:
        operands: list[Any] = [values[a] if isinstance(a, Operation) else None for a in operation.args]
        channels = {values[read].shape[2] for read in operation.inputs if read in image_dependent}
        maps = {read: values[read] for read in operation.inputs if read not in image_dependent}
        if len(channels) != 1 or not all(isinstance(map, Tensor) and map.dim() == 4 for map in maps.values()):
            raise operation.unsupported()
        self._kept |= maps
        if operation.is_layer:
            gate_bias: Any = operation.kwargs.get("gate_bias")
            if set(operation.inputs[1:]) - {gate_bias} or isinstance(gate_bias, Tensor) or gate_bias in image_dependent:
                raise operation.unsupported()
            options = operation.kwargs | {"gate_bias": None if gate_bias is None else values[gate_bias]}
            return _STATES[operation.function](self.rows, operands[0], **options)
        are_tensors = all(isinstance(operand, Tensor) for operand in operands)
        if not are_tensors or any(map.shape[1] > max(channels) for map in maps.values()):
            raise operation.unsupported()
        return PointwiseState(operands, self.rows, self._image_channels, operation.is_relu)

    def reset(self, condition: Tensor | None = None) -> None:
        """Begins new images.

        If ``condition`` is not None, its values replace the constructor's condition, which has the same shape.
        """
        self.rows.reset()
        recording = self._recording
        if condition is None or recording.condition is None:
            return
        values: dict[Operation, Any] = {recording.condition: condition.to(self.rows.dtype, copy=True)}
        for operation in recording.operations:
            if operation not in recording.image_dependent:
                values[operation] = self._compute_map(operation, values)
        for operation, map in self._kept.items():
            map.copy_(values[operation])
        self.rows.update_derived()

    def _compute_map(self, operation: Operation, values: dict[Operation, Any]) -> Any:
        result = operation.compute(values, self.rows.dtype)
        if not isinstance(result, Tensor):
            return result
        if 0 in result.stride():  # reset() cannot write to an expanded map
            result = result.contiguous()
        if self.rows.grid is None or not result.is_floating_point():
            return result
        return self.rows.grid.quantized(result.to(self.rows.dtype))

    def begin_row(self, row: int) -> None:
        run_row_steps(self.before_row, row)

    def steps(self, colour: int) -> list[Step]:
        return [step for state in self._states for step in state.steps(colour)]

    def end_row(self, row: int) -> None:
        run_row_steps(self.after_row, row)

    def mirrored_steps(self) -> list[Step]:
        return [step for state in self._states for step in state.mirrored_steps()]


def _margin(recording: Recording) -> int:
    """Returns how far to the left of a pixel the layers read, in columns."""
    weights = [layer.kwargs.get("weight", layer.kwargs.get("weight_ih")) for layer in recording.layers()]
    return max(3, *(weight.shape[3] for weight in weights if isinstance(weight, Tensor))) // 2
