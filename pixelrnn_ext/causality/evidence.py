"""Finds on which inputs a function's outputs depend, by derivatives and by changed values."""

from collections.abc import Sequence

import torch
from torch import Tensor

from .._sentences import reason
from .function import CheckedFunction
from .report import Value

# The number of random images of a search. A second image finds dependencies that the first one hides, because a ReLU is
# off or a gate is saturated.
DRAWS = 2


def by_derivatives(function: CheckedFunction, outputs: Sequence[Value]) -> Tensor | None:
    """Returns a bool tensor (outputs, colours * H * W): whether an output has a derivative with respect to an input.

    The derivative is of a random combination of all channels of the output's colour. Returns None if the function has
    no derivatives, or if one is not finite.
    """
    if not function.is_real:
        return None
    found = torch.zeros(len(outputs), *function.grid, dtype=torch.bool)
    for _ in range(DRAWS):
        images = function.draw().repeat(function.batch, 1, 1, 1).requires_grad_()
        for start in range(0, len(outputs), function.batch):
            part = outputs[start : start + function.batch]
            maps = function(images)
            if not maps.requires_grad:
                return None
            cotangent = torch.zeros_like(maps)
            for i, (colour, row, column) in enumerate(part):
                members = function.output_colours == colour
                cotangent[i, members, row, column] = function.draw_cotangent(maps[i, members, row, column])
            try:
                (gradient,) = torch.autograd.grad(maps, images, cotangent, allow_unused=True)
            except Exception as error:  # a user's function may have any backward pass
                text = f"{type(error).__name__}: {reason(error)}"
                raise ValueError(f"expected f to have derivatives, but its backward pass raised {text}") from error
            if gradient is None or not gradient.isfinite().all():
                return None
            depends = _largest(gradient.abs(), function.input_colours, function.grid[0]) > 0
            found[start : start + len(part)] |= depends[: len(part)]
    return found.flatten(1)


class Changes:
    """Changes inputs of random images, and compares the outputs before and after.

    ``as_output`` and ``as_input`` have the place of each value in the order of drawing. An output may depend on the
    inputs in earlier places.
    """

    def __init__(self, function: CheckedFunction, as_output: Tensor, as_input: Tensor) -> None:
        self._function, self._as_output, self._as_input = function, as_output, as_input
        images = [function.draw() for _ in range(DRAWS)]
        self._pairs = [(image, function.changed(image)) for image in images for _ in range(DRAWS)]

    def of_inputs(self, inputs: Sequence[int]) -> Tensor:
        """Returns (inputs, colours * H * W): the largest change of each output when one input changes.

        All inputs in later places have been replaced before. So a leak through two later values is found, too.
        """
        places = self._as_input[torch.tensor(inputs)]
        found = [self._change(self._maps(pair, places), self._maps(pair, places + 1)) for pair in self._pairs]
        return torch.stack(found).amax(0)

    def find_late_input(self, inputs: Sequence[int]) -> int | None:
        """Returns an input that changes an output in an earlier place, or None.

        Replaces all values from each of ``inputs`` on. If this changes an earlier output, a bisection finds the input.
        """
        places = self._as_input[torch.tensor(inputs)]
        for pair in self._pairs:
            (before,) = self._maps(pair, self._end)
            changes = self._change(self._maps(pair, places), before) > 0
            leaks = (changes & (self._as_output <= places[:, None])).nonzero()
            if len(leaks):
                cut, output = leaks[0].tolist()
                return self._bisect(pair, before, output, int(places[cut]))
        return None

    def _bisect(self, pair: tuple[Tensor, Tensor], before: Tensor, output: int, low: int) -> int:
        """Returns an input after ``low`` that changes ``output``, which changes if all values from ``low`` on do."""
        high = int(self._end)
        while high - low > 1:
            middle = (low + high) // 2
            changes = self._change(self._maps(pair, torch.tensor([middle])), before)[0, output] > 0
            low, high = (middle, high) if changes else (low, middle)
        return int((self._as_input == low).nonzero())

    @property
    def _end(self) -> Tensor:
        return torch.tensor([self._as_input.numel()])

    def _maps(self, pair: tuple[Tensor, Tensor], places: Tensor) -> Tensor:
        """Returns the maps of images whose values in each of ``places`` and later have been replaced."""
        function = self._function
        image, other = pair
        by_channel = self._as_input.view(function.grid)[function.input_colours]
        found = []
        with torch.no_grad():
            for part in places.split(function.batch):
                cuts = torch.cat([part, part[-1:].expand(function.batch - len(part))])
                is_replaced = (by_channel >= cuts[:, None, None, None]).to(image.device)
                found.append(function(torch.where(is_replaced, other, image))[: len(part)])
        return torch.cat(found)

    def _change(self, after: Tensor, before: Tensor) -> Tensor:
        """Returns the difference of each output (N, colours * H * W), and infinity for an infinite one."""
        difference = torch.where(after == before, 0, (after - before).abs()).nan_to_num(torch.inf, torch.inf).double()
        return _largest(difference, self._function.output_colours, self._function.grid[0]).flatten(1)


def _largest(maps: Tensor, colours: Tensor, count: int) -> Tensor:
    """Returns the largest of each colour's channels: (N, colours, H, W), on the CPU."""
    return torch.stack([maps[:, colours.to(maps.device) == colour].amax(1) for colour in range(count)], 1).cpu()
