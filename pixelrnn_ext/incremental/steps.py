"""What is computed at one pixel: steps over buffers of one image row.

A buffer is [margin + W, N, channels]: the columns of a row for all images, behind a margin of columns outside the
image, which hold zeros or a layer's border state. A step reads and writes the channels start..stop - 1 of the current
column. They belong to one colour: a value of a pixel depends on the features of its own colour and of those before, so
that every feature of a pixel is computed once, when the colours before its own are known.

The fields of a step stand in the order of its words in a compiled program (csrc/cpu/column_program.h).
"""

from typing import NamedTuple

from torch import Tensor

from .streams import Streams


class Tap(NamedTuple):
    """The first ``channels`` channels of the column at ``shift`` (0 or less), times ``weight`` (channels, outputs)."""

    input: Tensor
    shift: int
    channels: int
    weight: Tensor


class Linear(NamedTuple):
    """output = base + the taps' products, then ReLU if asked for."""

    taps: list[Tap]
    base: Tensor
    output: Tensor
    start: int
    stop: int
    relu: bool


class CellStep(NamedTuple):
    """The LSTM cell (eq. 3): gates i, f, g, o are base (4 * hidden channels) plus the taps' products (4 * outputs);
    output = h + addend.

    c is carried on from the column at ``shift`` of the buffer ``carried``.
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
    """output = left + right (None: zero), then ReLU if asked for."""

    left: Tensor
    right: Tensor | None
    output: Tensor
    start: int
    stop: int
    relu: bool


class Draw(NamedTuple):
    """The value of one colour, int64: the given one where it is known, else the one that likelihood.draw takes.

    ``scaled`` (levels) is what the network reads of a value, from ``image``.
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
    """What of [0, 2**24) is a value's, for the range coder: start << 32 | stop, int64.

    ``scaled`` and ``image`` as of Draw.
    """

    logits: Tensor
    values: Tensor
    intervals: Tensor
    scaled: Tensor
    image: Tensor
    colour: int


class Decode(NamedTuple):
    """The value of one colour: the given one where it is known, else the next one of the image's stream.

    ``scaled`` and ``image`` as of Draw.
    """

    logits: Tensor
    known: Tensor
    values: Tensor
    scaled: Tensor
    image: Tensor
    colour: int
    streams: Streams


Step = Linear | CellStep | Pointwise | Draw | Encode | Decode
