"""The steps that compute one pixel of all images, on buffers of one image row.

A buffer is [margin + W, N, channels]. Its first ``margin`` columns lie to the left of the image, and hold zeros or a
layer's border state. A step writes the channels start..stop - 1 of the current column, which belong to one colour. The
step runs when all earlier colours are known, so every feature is computed once.

A step has its fields in the order of a compiled program (csrc/columns/program.h).
"""

from typing import NamedTuple

from torch import Tensor

from .range_coder import Streams


class Tap(NamedTuple):
    """Product of ``weight`` (channels, outputs) and the first ``channels`` channels of a column.

    The column is ``shift`` <= 0 columns from the current one.
    """

    input: Tensor
    shift: int
    channels: int
    weight: Tensor


class Linear(NamedTuple):
    """output = base + the sum of the taps' products, then a ReLU if ``relu``."""

    taps: list[Tap]
    base: Tensor
    output: Tensor
    start: int
    stop: int
    relu: bool


class CellStep(NamedTuple):
    """The LSTM cell (eq. 3). It reads the previous c from ``carried``, ``shift`` columns away. output = h + addend.

    The pre-activations of the gates i, f, g, o are the sum of a part of ``base`` and the taps' products. ``base`` has
    the 4 gates of all hidden channels. The products have the 4 gates of the hidden channels start..stop - 1.
    """

    taps: list[Tap]
    base: Tensor
    carried: Tensor
    shift: int
    c: Tensor
    h: Tensor
    addend: Tensor
    output: Tensor
    start: int
    stop: int


class Pointwise(NamedTuple):
    """output = left + right, or only left if ``right`` is None, then a ReLU if ``relu``."""

    left: Tensor
    right: Tensor | None
    output: Tensor
    start: int
    stop: int
    relu: bool


class Draw(NamedTuple):
    """Draws the value of one colour, int64, by likelihood.draw_or_mark. A known value stays as it is.

    The step also writes ``scaled[value]`` to ``image``, which the network reads. ``scaled`` is (levels,).
    """

    logits: Tensor
    uniform: Tensor
    known: Tensor
    values: Tensor
    scaled: Tensor
    image: Tensor
    colour: int
    temperature: float


class Encode(NamedTuple):
    """Writes a value's range-coder interval, start << 32 | stop, int64. Writes ``scaled[value]`` like :class:`Draw`."""

    logits: Tensor
    values: Tensor
    intervals: Tensor
    scaled: Tensor
    image: Tensor
    colour: int


class Decode(NamedTuple):
    """Like :class:`Draw`, but decodes the unknown values from the streams of their images."""

    logits: Tensor
    known: Tensor
    values: Tensor
    scaled: Tensor
    image: Tensor
    colour: int
    streams: Streams


Step = Linear | CellStep | Pointwise | Draw | Encode | Decode
