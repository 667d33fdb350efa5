"""The result of a check: leaks, blind spots and how much was examined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from .._arguments import integer
from .._sentences import counted

# Colours of Report.picture(), RGB.
LEAK, SEEN, BLIND, LATER, OUTPUT = (214, 39, 40), (31, 119, 180), (255, 187, 120), (255, 255, 255), (0, 0, 0)


class Value(NamedTuple):
    """The place of a value in an image."""

    colour: int
    row: int
    column: int


class Leak(NamedTuple):
    """An output that depends on an input that it may not see. Both are (colour, row, column)."""

    output: Value
    input: Value

    def __str__(self) -> str:
        return _sentence(self.output, "changes with", self.input, "later")


class BlindSpot(NamedTuple):
    """An output that does not depend on an input that it may see. Both are (colour, row, column)."""

    output: Value
    input: Value

    def __str__(self) -> str:
        return _sentence(self.output, "does not change with", self.input, "earlier")


def _sentence(output: Value, verb: str, input: Value, when: str) -> str:
    which = "its own value" if input == output else f"which comes {when}"
    return f"output {tuple(output)} {verb} input {tuple(input)}, {which}"


@dataclass(frozen=True, eq=False)
class Report:
    """The result of :func:`pixelrnn_ext.causality.check`. ``print(report)`` says it in words.

    Outputs and inputs have indices in the order of (colour, row, column).

    Attributes:
        grid: (colours, H, W).
        as_output, as_input: int64 (C * H * W,), the place of each value in the order of drawing. An output may see the
            inputs in earlier places.
        outputs: int64 (n,), the outputs whose derivatives were computed. Empty if the function has no derivatives.
        by_derivative: bool (n, C * H * W), whether each of ``outputs`` depends on each input.
        inputs: int64 (m,), the inputs that were changed.
        by_change: float64 (m, C * H * W), the largest change of each output when one of ``inputs`` changes.
    """

    grid: tuple[int, int, int]
    as_output: Tensor
    as_input: Tensor
    outputs: Tensor
    by_derivative: Tensor
    inputs: Tensor
    by_change: Tensor

    @cached_property
    def _late(self) -> Tensor:
        """Pairs (output, input) of all leaks, int64 (leaks, 2), in their order."""
        derivatives = (self.by_derivative & (self.as_input >= self.as_output[self.outputs, None])).nonzero()
        changes = ((self.by_change > 0) & (self.as_input[self.inputs, None] >= self.as_output)).nonzero()
        first = torch.stack([self.outputs[derivatives[:, 0]], derivatives[:, 1]], 1)
        second = torch.stack([changes[:, 1], self.inputs[changes[:, 0]]], 1)
        return torch.cat([first, second]).unique(dim=0)

    @cached_property
    def _blind(self) -> Tensor:
        """Pairs (output, input) of all blind spots among the inputs that were changed, and outputs with derivatives."""
        seen = (self.by_change > 0).T
        seen[self.outputs] |= self.by_derivative[:, self.inputs]
        may_see = self.as_input[self.inputs] < self.as_output[:, None]
        pairs = (may_see & ~seen).nonzero()
        if len(self.outputs):
            pairs = pairs[torch.isin(pairs[:, 0], self.outputs)]
        return torch.stack([pairs[:, 0], self.inputs[pairs[:, 1]]], 1)

    @property
    def leak_count(self) -> int:
        """The number of pairs of an output and a later input on which it depends."""
        return len(self._late)

    @property
    def blind_spot_count(self) -> int:
        """The number of pairs of an output and an earlier input on which it does not depend."""
        return len(self._blind)

    @property
    def leaks(self) -> list[Leak]:
        """All leaks, in the order of their outputs."""
        return [Leak(*map(self._value, pair)) for pair in self._late.tolist()]

    @property
    def blind_spots(self) -> list[BlindSpot]:
        """All blind spots, in the order of their outputs."""
        return [BlindSpot(*map(self._value, pair)) for pair in self._blind.tolist()]

    @property
    def largest_change(self) -> float:
        """The largest change of an output by a later input, or 0 if only derivatives found leaks."""
        late = self.as_input[self.inputs, None] >= self.as_output
        return float(torch.where(late, self.by_change, 0).max())

    def seen_by(self, output: Sequence[int]) -> Tensor:
        """Returns on which inputs ``output`` (colour, row, column) was found to depend, as a bool tensor (C, H, W)."""
        index = self._index(output)
        seen = torch.zeros(len(self.as_input), dtype=torch.bool)
        seen[self.inputs] = self.by_change[:, index] > 0
        for row in (self.outputs == index).nonzero().flatten().tolist():
            seen |= self.by_derivative[row]
        return seen.view(self.grid)

    def _index(self, output: Sequence[int]) -> int:
        if len(output) != 3 or not all(0 <= place < side for place, side in zip(output, self.grid)):
            raise ValueError(f"expected an output (colour, row, column) in {self.grid}, got {tuple(output)}")
        _, height, width = self.grid
        return (output[0] * height + output[1]) * width + output[2]

    def _value(self, index: int) -> Value:
        _, height, width = self.grid
        return Value(index // (height * width), index // width % height, index % width)

    def __str__(self) -> str:
        values = len(self.as_input)
        leaks, blind = counted(self.leak_count, "leak"), counted(self.blind_spot_count, "blind spot")
        if self.leak_count:
            change = self.largest_change
            by = f"by up to {change:.2g} in any channel" if change else "as derivatives alone show"
            leaks += f", {by}; the first: {self.leaks[0]}"
        if self.blind_spot_count:
            blind += f", the first: {self.blind_spots[0]}"
        derivatives = f"derivatives of {len(self.outputs)} of {values} outputs"
        examined = derivatives if len(self.outputs) else "no derivatives"
        return f"{leaks}\n{blind}\nexamined: {examined}; changes of {len(self.inputs)} of {values} inputs"

    def picture(self, at: Sequence[int] | None = None, scale: int = 8) -> Tensor:
        """Draws what an output depends on, as uint8 RGB (3, height, width).

        The colours of an image are side by side, with a gray bar between them. Inputs that the output sees are blue,
        leaks are red, blind spots are orange, and the output itself has a black square.

        Args:
            at: the output (colour, row, column). By default the one with the most leaks, or else the last output that
                was examined.
            scale: pixels of the picture for each side of an input.
        """
        scale = integer("scale", scale)
        if at is None:
            count = self._late[:, 0].bincount(minlength=len(self.as_input))
            at = self._value(int(count.argmax()) if count.any() else int(self.inputs[-1]))
        seen, index = self.seen_by(at).flatten(), self._index(at)
        may_see, blind = self.as_input < self.as_output[index], torch.zeros_like(seen)
        blind[self._blind[self._blind[:, 0] == index, 1]] = True
        panels = torch.tensor(LATER, dtype=torch.uint8).repeat(len(seen), 1)
        for flags, colour in ((seen & may_see, SEEN), (seen & ~may_see, LEAK), (blind, BLIND)):
            panels[flags] = torch.tensor(colour, dtype=torch.uint8)
        panels = panels.T.unflatten(1, self.grid).repeat_interleave(scale, 2).repeat_interleave(scale, 3)
        place, row, column = at
        inner = [slice(side * scale + scale // 4, (side + 1) * scale - scale // 4) for side in (row, column)]
        panels[:, place, inner[0], inner[1]] = torch.tensor(OUTPUT, dtype=torch.uint8)[:, None, None]
        bar = torch.full((*panels.shape[:3], scale), 128, dtype=torch.uint8)
        return torch.cat([panels, bar], 3).transpose(1, 2).flatten(2)[..., :-scale]


class CausalityError(AssertionError):
    """Raised for a function with a leak. ``report`` has all leaks."""

    def __init__(self, report: Report) -> None:
        self.report = report
        more = f", and {report.leak_count - 1} more" if report.leak_count > 1 else ""
        super().__init__(f"{report.leaks[0]}{more}")

    def __reduce__(self) -> tuple[type, tuple[Report]]:
        return CausalityError, (self.report,)
