"""A range coder in Python integers, its symbols' integer probabilities, and streams during decoding.

csrc/cpu/range_coder.h writes the same bytes. The coder divides its current range into 2^24 parts. A symbol's interval
is the parts start..stop - 1, which become the next range. A stream is any number in the last range, in the fewest bytes
that suffice, at least one. After the end of a stream the decoder reads zeros.
"""

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

PRECISION = 24
MAX_LEVELS = 4096  # keeps products in `cumulative` below 2^63
_MAX_DISTANCE = 18.0  # 2^24 * e^-18 rounds to 0

_WORD = 64
_MASK = 2**_WORD - 1
_MIN_RANGE = 2**48  # dividing such a range, or a larger one, into 2^24 parts wastes less than 2^-24 of it


def cumulative(logits: Tensor) -> Tensor:
    """Returns the bounds of the symbols' intervals, (..., levels + 1): increasing integers from 0 to 2^24.

    The logits are finite float64 numbers (..., levels) on the codec's grid. For such numbers every machine computes the
    same exp, rounded to 2^-24. A single logit belongs to symbol 1. Symbol 0 then has the logit 0.
    """
    if logits.dtype != torch.float64:
        raise TypeError(f"expected logits of torch.float64, got {logits.dtype}")
    if logits.dim() == 0 or not 1 <= logits.shape[-1] <= MAX_LEVELS:
        raise ValueError(f"expected logits (..., levels) of 1 to {MAX_LEVELS} levels, got shape {tuple(logits.shape)}")
    if logits.shape[-1] == 1:
        logits = F.pad(logits, (1, 0))
    below = logits.amax(-1, keepdim=True) - logits
    weights = torch.where(below > _MAX_DISTANCE, 0.0, (torch.exp(-below) * 2**PRECISION + 0.5).floor()).long()
    sums = F.pad(weights.cumsum(-1), (1, 0))
    levels = logits.shape[-1]
    return sums * (2**PRECISION - levels) // sums[..., -1:] + torch.arange(levels + 1, device=logits.device)


class Encoder:
    def __init__(self) -> None:
        # _low has the low bits of the range's start. _out has the bits before them.
        self._low, self._range, self._out = 0, _MASK, bytearray()

    def encode(self, start: int, stop: int) -> None:
        """Encodes the symbol with the interval ``start``..``stop - 1``. Raises ValueError for an invalid interval."""
        if not 0 <= start < stop <= 2**PRECISION:
            raise ValueError(f"expected 0 <= start < stop <= {2**PRECISION}, got {start} and {stop}")
        part = self._range >> PRECISION
        self._add(part * start)
        self._range = part * (stop - start)
        while self._range < _MIN_RANGE:
            self._shift()
            self._range <<= 8

    def finish(self) -> bytes:
        for left in range(_WORD - 8, -1, -8):  # ``left``: number of low bits that the stream omits
            up = -self._low % 2**left
            if up < self._range:
                break
        self._add(up)
        for _ in range(left, _WORD, 8):
            self._shift()
        return bytes(self._out)

    def _add(self, amount: int) -> None:
        self._low += amount
        # A larger number has a carry into the written bytes. The carry never leaves the first byte, because the encoded
        # number, read as a binary fraction, stays below 1.
        if self._low > _MASK:
            self._low &= _MASK
            last = len(self._out) - 1
            while self._out[last] == 255:
                self._out[last] = 0
                last -= 1
            self._out[last] += 1

    def _shift(self) -> None:
        self._out.append(self._low >> _WORD - 8)
        self._low = self._low << 8 & _MASK


class Decoder:
    """Decodes symbols from a stream. Starts at its beginning, or at the ``state`` where an earlier decoder stopped.

    A decoder decodes any bytes without an error. ``past_end`` and ``finished`` tell whether the stream has the right
    length.
    """

    def __init__(self, data: bytes | bytearray | memoryview, state: tuple[int, int, int] | None = None) -> None:
        self._data, self._position = data, 0  # _position: bytes read, including zeros after the end
        self._offset, self._range = 0, _MASK  # _offset: distance of the stream's number from the start of the range
        if state:
            self._offset, self._range, self._position = state
        else:
            for _ in range(_WORD // 8):
                self._read()

    @property
    def state(self) -> tuple[int, int, int]:
        return self._offset, self._range, self._position

    def decode(self, bounds: Sequence[int]) -> int:
        """Returns the next symbol. The encoder must have used the same ``bounds``, from :func:`cumulative`."""
        part = self._range >> PRECISION
        symbol = bisect_right(bounds, min(self._offset // part, 2**PRECISION - 1)) - 1
        start, stop = bounds[symbol], bounds[symbol + 1]
        self._offset -= part * start
        self._range = part * (stop - start)
        while self._range < _MIN_RANGE:
            self._read()
            self._range <<= 8
        return symbol

    @property
    def past_end(self) -> bool:
        """Whether the decoder has read more bytes past the stream's end than the 7 that a valid stream may need."""
        return self._position > len(self._data) + 7

    @property
    def finished(self) -> bool:
        return self._position >= len(self._data)

    def _read(self) -> None:
        byte = self._data[self._position] if self._position < len(self._data) else 0
        self._offset = self._offset << 8 & _MASK | byte
        self._position += 1


class Streams(NamedTuple):
    """Streams during decoding, for compiled steps and PyTorch. ``data`` joins the bytes of all streams.

    ``state`` is int64, (streams, 6). Each row has, in this order: the first image of the stream, the last image + 1,
    the decoder's offset and range (the bits of unsigned 64-bit integers), its position in ``data``, and the end of the
    stream in ``data``.
    """

    state: Tensor
    data: Tensor

    @classmethod
    def from_bytes(cls, streams: Sequence[bytes | bytearray | memoryview]) -> "Streams":
        rows, end = [], 0
        for stream in streams:
            offset, range_, position = Decoder(stream).state
            rows.append([0, 0, _signed(offset), _signed(range_), end + position, end + len(stream)])
            end += len(stream)
        data = torch.frombuffer(bytearray(b"".join(streams)) or bytearray(1), dtype=torch.uint8)
        return cls(torch.tensor(rows, dtype=torch.int64).view(-1, 6), data)

    def assign_images(self, images: Sequence[int]) -> None:
        """Stream s gets the next ``images[s]`` images."""
        ends = torch.tensor(images).cumsum(0)
        self.state[:, 0], self.state[:, 1] = ends - torch.tensor(images), ends

    def decode(self, bounds: Tensor, known: Tensor) -> Tensor:
        """Decodes one value of each image, (N,) int64, or 0 if it is ``known``. :func:`cumulative` gives ``bounds``."""
        values, rows, skip, data = [0] * len(bounds), bounds.tolist(), known.tolist(), self.data.numpy().data
        for row, (first, last, offset, range_, position, end) in zip(self.state, self.state.tolist()):
            decoder = Decoder(data[:end], (offset & _MASK, range_ & _MASK, position))
            for i in range(first, last):
                if not skip[i]:
                    values[i] = decoder.decode(rows[i])
            row[2:5] = torch.tensor([_signed(word) for word in decoder.state])
        return torch.tensor(values, dtype=torch.int64)

    def past_end(self) -> bool:
        return bool((self.state[:, 4] > self.state[:, 5] + 7).any())

    def finished(self) -> bool:
        return bool((self.state[:, 4] >= self.state[:, 5]).all())


def _signed(number: int) -> int:
    return number - (number >> 63 << 64)


def encode(intervals: Tensor) -> bytes:
    """Encodes a tensor of intervals, start << 32 | stop, in its order to one stream."""
    encoder = Encoder()
    for interval in intervals.flatten().tolist():
        encoder.encode(interval >> 32, interval & 0xFFFFFFFF)
    return encoder.finish()
