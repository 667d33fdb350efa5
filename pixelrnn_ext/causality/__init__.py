"""Checks that an autoregressive model or layer is causal: that no output depends on an input that comes later.

The order is the paper's: pixels in raster order, and within a pixel the colours in their order (section 2 and
figure 2). A model that breaks it reports likelihoods that are too good, and cannot draw samples.
"""

import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .._arguments import integers
from .._dynamo import never_compiled
from ..masks import check_mask_type
from .evidence import ADDITIONS, Changes, by_derivatives, field_of
from .function import LAYOUTS, CheckedFunction
from .report import BlindSpot, CausalityError, Leak, Report, Value

__all__ = ["LAYOUTS", "BlindSpot", "CausalityError", "Leak", "Report", "check", "receptive_field"]

# check() examines all values of an image if these are at most ALL, and otherwise SOME.
ALL, SOME = 8 * 8 * 3, 64


@never_compiled
def check(
    f: Callable[[Tensor], Tensor],
    shape: Sequence[int],
    *,
    layout: str,
    mask: str | None = None,
    image_channels: int | None = None,
    levels: int | None = None,
    dtype: torch.dtype = torch.float64,
    order: Tensor | None = None,
    seed: int = 0,
    raises: bool = True,
) -> Report:
    """Checks that each output depends only on inputs that come before it.

    Two searches complement each other. Derivatives find leaks of any size, where they exist. Changed input values find
    leaks without a derivative, such as those through an embedding or a rounding, unless only rare values show them. Up
    to 8 x 8 pixels of 3 colours, all outputs and inputs are examined, and of larger images 64 of each, with the corners
    among them. The report says how many. It also says by how much an output changes: a change of 1e-16 may be a
    rounding error, as of ``x.cumsum(3) - x``.

    Args:
        f: a module or a function from images (N, C, H, W) to maps. A module is copied, and the copy computes in
            ``dtype``. A function computes in the dtype of its images, and its own modules are not copied: calls may
            change their statistics. What a function keeps of its first call for ever is not noticed, but what a module
            keeps is.
        shape: (C, H, W) of one image or feature map that ``f`` takes.
        layout: how the maps of ``f`` are laid out. ``"levels-first"`` is (N, L, C, H, W), as the models of this package
            return logits. ``"flat"`` is (N, C * L, H, W), where channel c * L + l has level l of colour c.
            ``"features"`` is (N, K, H, W), where the K channels are divided among the colours by
            :func:`pixelrnn_ext.masks.colour_groups`.
        mask: ``"A"`` if an output may not depend on the input of its own pixel and colour, ``"B"`` if it may. By
            default "A" for logits ("levels-first" and "flat"), which predict this input, and "B" for features.
        image_channels: number of colours. By default the C of ``shape``, as images have. The C channels of feature maps
            are divided among the colours, too.
        levels: input values are integers from 0 to levels - 1. By default they are normally distributed.
        dtype: the dtype of the images. An integer dtype is for functions that take no real numbers, such as the models
            of this package. It needs ``levels``, and leaves out the derivatives.
        order: integers (H, W), the place of each pixel in the order of drawing, if it is not the raster order.
        seed: chooses the random images. The random number generators of torch keep their state.
        raises: whether to raise CausalityError for a leak, rather than only report it.

    Returns:
        The leaks, what was examined, and the blind spots: earlier inputs on which an output does not depend, which are
        no error.

    Raises:
        CausalityError: an output depends on a later input. ``error.report`` is the report.
        ValueError: ``f`` raises an error, returns maps of another shape, dtype or with NaN, returns other maps for the
            same images, or mixes the images of a batch. Also for wrong arguments.

    Example:
        >>> import pixelrnn_ext as px
        >>> conv = torch.nn.Conv2d(1, 4, 3, padding=1)
        >>> report = px.causality.check(conv, (1, 4, 4), layout="features", raises=False)
        >>> print(report.leaks[0])
        output (0, 0, 0) changes with input (0, 0, 1), which comes later
    """
    function = CheckedFunction(f, shape, layout, image_channels, levels, dtype, seed)
    mask = ("B" if layout == "features" else "A") if mask is None else mask
    check_mask_type(mask)
    places = _places(function, order)
    with function.isolated():
        report = _examine(function, places, mask)
        if report.leak_count:
            # A function of random numbers, or of other images, is not to be accused.
            if _examine(function, places, mask).leaks != report.leaks:
                raise function.differs()
            function.check_mixing_by_derivatives()
    if raises and report.leak_count:
        raise CausalityError(report)
    return report


@never_compiled
def receptive_field(
    f: Callable[[Tensor], Tensor],
    shape: Sequence[int],
    at: Sequence[int],
    *,
    layout: str,
    image_channels: int | None = None,
    levels: int | None = None,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
) -> Tensor:
    """Returns on which inputs the output ``at`` = (colour, row, column) depends, as a bool tensor (colours, H, W).

    The arguments, the searches and the errors are those of :func:`check`. All inputs are examined with 32 random
    images, because a ReLU that is off for an image hides what other images show. The search ends there if the last 28
    images showed nothing new, and otherwise after 64 images. If the last 32 of these showed something new, a warning
    says that the field may be larger. An input that only rare images show may be missed without a warning.

    Example:
        >>> import pixelrnn_ext as px
        >>> conv = px.MaskedConv2d(1, 4, 3, "B")
        >>> px.causality.receptive_field(conv, (1, 3, 4), (0, 1, 1), layout="features")[0].int().tolist()
        [[1, 1, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0]]
    """
    function = CheckedFunction(f, shape, layout, image_channels, levels, dtype, seed)
    at = integers(minimum=0, **dict(zip(("colour", "row", "column", "more"), at)))
    if len(at) != 3 or any(place >= side for place, side in zip(at, function.grid)):
        raise ValueError(f"expected at to be (colour, row, column) in {function.grid}, got {at}")
    with function.isolated():
        function.check_mixing_by_derivatives()
        field, is_quiet = field_of(function, Value(*at))
    if not is_quiet:
        text = f"the last of {sum(ADDITIONS)} images still showed new inputs of the output {at}"
        warnings.warn(f"{text}: the receptive field may have more inputs", stacklevel=3)
    return field.view(function.grid)


def _examine(function: CheckedFunction, places: Tensor, mask: str) -> Report:
    function.restart()
    as_output = places + (mask == "B")
    values = [Value(*position) for position in torch.ones(function.grid).nonzero().tolist()]
    examined = _chosen(values, function.grid)
    derivatives = by_derivatives(function, [values[i] for i in examined])
    changes = Changes(function, as_output, places)
    inputs = examined
    if len(examined) < len(values) and (late := changes.find_late_input(examined)) is not None:
        inputs = sorted({*examined, late})
    outputs = torch.tensor([] if derivatives is None else examined, dtype=torch.long)
    found = torch.zeros(0, len(values), dtype=torch.bool) if derivatives is None else derivatives
    by_change = changes.of_inputs(inputs)
    return Report(function.grid, as_output, places, outputs, found, torch.tensor(inputs), by_change)


def _places(function: CheckedFunction, order: Tensor | None) -> Tensor:
    """Returns the place of each value in the order of drawing, from 0 on: int64 (colours * H * W,)."""
    colours, height, width = function.grid
    pixels = torch.arange(height * width) if order is None else torch.as_tensor(order).cpu()
    if order is not None:
        if pixels.shape != (height, width) or pixels.is_floating_point() or len(pixels.unique()) != pixels.numel():
            expected = f"integers ({height}, {width}), another one for each pixel"
            raise ValueError(f"expected order to be {expected}, got {pixels.dtype} {tuple(pixels.shape)}")
        pixels = pixels.flatten().argsort().argsort()
    return (pixels * colours + torch.arange(colours)[:, None]).flatten()


def _chosen(values: list[Value], grid: tuple[int, int, int]) -> list[int]:
    """Returns the indices of the values to examine: all of a small image, otherwise corners and random values."""
    if len(values) <= ALL:
        return [*range(len(values))]
    _, height, width = grid
    chosen = torch.randperm(len(values), generator=torch.Generator().manual_seed(0)).tolist()
    # A sort keeps the random order of values that are both corners or both no corners.
    chosen.sort(key=lambda i: not (values[i].row in (0, height - 1) and values[i].column in (0, width - 1)))
    return sorted(chosen[:SOME])
