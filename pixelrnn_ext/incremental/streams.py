"""Streams of the range coder while they are decoded. Each stream holds several images."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .range_coder import Decoder

_MASK = 2**64 - 1


class Streams(NamedTuple):
    """Streams that are being decoded, by compiled steps or in PyTorch.

    ``state`` is (streams, 6) of int64: the images first..last - 1, the decoder's offset and range (unsigned 64 bits),
    its place in ``data``, and the stream's end in ``data``.
    """

    state: Tensor
    data: Tensor

    @classmethod
    def opened(cls, streams: Sequence[bytes | bytearray | memoryview]) -> "Streams":
        """Returns streams at their beginnings, with no images yet."""
        rows, end = [], 0
        for stream in streams:
            begin, end = end, end + len(stream)
            rows.append(torch.cat([torch.tensor([0, 0]), _fields(Decoder(stream), begin), torch.tensor([end])]))
        data = torch.frombuffer(bytearray(b"".join(streams)) or bytearray(1), dtype=torch.uint8)
        return cls(torch.stack(rows) if rows else torch.zeros(0, 6, dtype=torch.int64), data)

    def take(self, images: Sequence[int]) -> None:
        """Chooses the images that are decoded next: ``images`` counts them for each stream, in order."""
        ends = torch.tensor(images).cumsum(0)
        self.state[:, 0], self.state[:, 1] = ends - torch.tensor(images), ends

    def decode(self, ends: Tensor, known: Tensor) -> Tensor:
        """Decodes a value of every image, (N,) of int64, 0 where the value is ``known``, for the steps in PyTorch.

        ``ends`` is the result of range_coder.cumulative, (N, levels + 1).
        """
        values, cumulative, skip, data = [0] * len(ends), ends.tolist(), known.tolist(), self.data.numpy().data
        for row, (first, last, offset, range_, at, end) in zip(self.state, self.state.tolist()):
            decoder = Decoder(data[:end], (offset & _MASK, range_ & _MASK, at))
            for i in range(first, last):
                if not skip[i]:
                    values[i] = decoder.decode(cumulative[i])
            row[2:5] = _fields(decoder, 0)
        return torch.tensor(values, dtype=torch.int64)

    def past_end(self) -> bool:
        """Returns whether values were read that a stream does not hold, see range_coder.Decoder.past_end."""
        return bool((self.state[:, 4] > self.state[:, 5] + 7).any())

    def finished(self) -> bool:
        return bool((self.state[:, 4] >= self.state[:, 5]).all())


def _fields(decoder: Decoder, begin: int) -> Tensor:
    """Returns offset, range and place of a decoder whose stream begins at ``begin``."""
    offset, range_, at = decoder.state
    return torch.tensor([_signed(offset), _signed(range_), begin + at])


def _signed(number: int) -> int:
    return number - (number >> 63 << 64)
