"""Finds on which inputs a function's outputs depend, by derivatives and by changed values."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .function import CheckedFunction
from .report import Value

# The number of random images of a check. A second image finds dependencies that the first one hides, because a ReLU is
# off or a gate is saturated.
DRAWS = 2
# The numbers of images that field_of() adds, until an addition shows nothing new.
ADDITIONS = (4, 28, 32)


def by_derivatives(function: CheckedFunction, outputs: Sequence[Value]) -> Tensor | None:
    """Returns a bool tensor (outputs, colours * H * W): whether an output has a derivative with respect to an input.

    The derivative is of a random combination of all channels of the output's colour. Returns None if the function has
    no derivatives, or if one is not finite.
    """
    found = torch.zeros(len(outputs), math.prod(function.grid), dtype=torch.bool)
    for _ in range(DRAWS):
        image = function.draw()
        for start in range(0, len(outputs), function.batch):
            part = slice(start, start + function.batch)
            depends = _have_derivatives(function, image, outputs[part])
            if depends is None:
                return None
            found[part] |= depends
    return found


def _have_derivatives(function: CheckedFunction, images: Tensor, outputs: Sequence[Value]) -> Tensor | None:
    """Returns like :func:`by_derivatives` whether each output depends on each input of its image, or of the one image.

    There are at most as many outputs as a batch has images.
    """
    if not function.is_real:
        return None
    images = _filled(images, function.batch).requires_grad_()
    maps = function(images)
    cotangent = torch.zeros_like(maps)
    for i, (colour, row, column) in enumerate(outputs):
        members = function.output_colours == colour
        cotangent[i, members, row, column] = function.draw_cotangent(maps[i, members, row, column])
    gradient = function.gradient(maps, images, cotangent)
    if gradient is None:
        return None
    return _largest(gradient[: len(outputs)].abs(), function.input_colours, function.grid[0]).flatten(1) > 0


def field_of(function: CheckedFunction, output: Value) -> tuple[Tensor, bool]:
    """Returns on which inputs an output depends, bool (colours * H * W,), and whether the last addition was empty.

    Every image starts a search among the inputs that earlier images did not show.
    """
    seen = torch.zeros(math.prod(function.grid), dtype=torch.bool)
    for addition, count in enumerate(ADDITIONS):
        found, images = seen.clone(), function.draw(count)
        for part in images.split(function.batch):
            depends = _have_derivatives(function, part, [output] * len(part))
            if depends is not None:
                found |= depends.any(0)
        for image in images.split(1):
            unknown = (~found).nonzero().flatten()
            found[_changing(function, (image, function.changed(image)), unknown, output)] = True
        if addition and torch.equal(found, seen):
            return found, True
        seen = found
    return seen, False


def _changing(function: CheckedFunction, pair: tuple[Tensor, Tensor], inputs: Tensor, output: Value) -> Tensor:
    """Returns inputs that change ``output`` when ``inputs`` are replaced in turn, the last of them first.

    A batch of images has the first steps, which replace several inputs each. A step that changes the output is halved.
    """
    order = torch.full((math.prod(function.grid),), -1).index_put((inputs,), torch.arange(len(inputs)))
    members = function.output_colours == output.colour

    def outputs(cuts: Tensor) -> Tensor:
        parts = cuts.split(function.batch)
        return torch.cat([_maps(function, pair, order, part)[:, members, output.row, output.column] for part in parts])

    cuts = torch.linspace(0, len(inputs), min(function.batch, len(inputs) + 1)).long()
    values = outputs(cuts)
    while True:
        changes = (values[1:] != values[:-1]).any(1).cpu()
        middles = ((cuts[1:] + cuts[:-1]) // 2)[changes & (cuts.diff() > 1)]
        if not len(middles):
            break
        cuts, by_cut = torch.cat([cuts, middles]).sort()
        values = torch.cat([values, outputs(middles)])[by_cut]
    found = cuts[:-1][changes]
    if len(found):
        # Compares in equal places of a batch, since a function may round an image in another way in another place.
        found = found[(outputs(found) != outputs(found + 1)).any(1).cpu()]
    return inputs[found]


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
        found = []
        for places in self._as_input[torch.tensor(inputs)].split(self._function.batch):
            changes = [self._change(self._maps(pair, places), self._maps(pair, places + 1)) for pair in self._pairs]
            found.append(torch.stack(changes).amax(0))
        return torch.cat(found)

    def find_late_input(self, inputs: Sequence[int]) -> int | None:
        """Returns an input that changes an output in an earlier place, or None.

        Replaces all values from each of ``inputs`` on. If this changes an earlier output, a bisection finds the input.
        """
        for pair in self._pairs:
            before = self._maps(pair, self._end)
            for places in self._as_input[torch.tensor(inputs)].split(self._function.batch):
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
        return _maps(self._function, pair, self._as_input, places)

    def _change(self, after: Tensor, before: Tensor) -> Tensor:
        """Returns the difference of each output (N, colours * H * W), and infinity for an infinite one."""
        difference = torch.where(after == before, 0, (after - before).abs()).nan_to_num(torch.inf, torch.inf).double()
        return _largest(difference, self._function.output_colours, self._function.grid[0]).flatten(1)


def _maps(function: CheckedFunction, pair: tuple[Tensor, Tensor], order: Tensor, cuts: Tensor) -> Tensor:
    """Returns the maps of images whose values from each cut on have been replaced, at most a batch of them.

    ``order`` has the place of each value, and ``pair`` the image (1, C, H, W) and the values that replace its own.
    """
    image, other = pair
    by_channel = order.view(function.grid)[function.input_colours]
    is_replaced = (by_channel >= _filled(cuts, function.batch)[:, None, None, None]).to(image.device)
    with torch.no_grad():
        return function(torch.where(is_replaced, other, image))[: len(cuts)]


def _filled(tensor: Tensor, count: int) -> Tensor:
    """Repeats the last item until there are ``count`` items."""
    return torch.cat([tensor, tensor[-1:].expand(count - len(tensor), *tensor.shape[1:])])


def _largest(maps: Tensor, colours: Tensor, count: int) -> Tensor:
    """Returns the largest of each colour's channels: (N, colours, H, W), on the CPU."""
    return torch.stack([maps[:, colours.to(maps.device) == colour].amax(1) for colour in range(count)], 1).cpu()
