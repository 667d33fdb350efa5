"""Reads and writes the codec's files. Checks everything in a file that can be checked without the model.

The table shows format 1 of a file. All numbers are little-endian.

| bytes | content |
|---|---|
| 4 | the magic number 8B 50 52 4E |
| 1 | low four bits: the format's version; high four bits: the arithmetic profile, a number for the rounding rules |
| 8 | the fingerprint of the model |
| 4 | CRC-32 of the images: the values of all groups in order, as int16 |
| 4 | CRC-32 of the whole file without this field |
| varints | the number of groups; for each group, number, height and width of images, number and sizes of streams |
| rest | the streams, in the order of the groups |

A group is consecutive images of one size. A stream is a part of the file that is decoded independently. It codes a
range of the images of a group (`stream_spans`), in blocks of up to 64 images (`blocks`). The values of a block are
ordered by network, row, column, colour and image. The small network of a multi-scale model comes first.

The last stream of the last group takes the rest of the file, so its size is not stored.

A varint is an integer with seven bits in each byte, low bits first. The eighth bit says that another byte follows. A
varint has the fewest possible bytes.
"""

import itertools
import struct
import zlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

Bytes = bytes | bytearray | memoryview
Span = tuple[int, int]  # the index of the first image, and the index after the last

MAGIC = b"\x8bPRN"
VERSION = 1
# The most images of a stream decoded at once. Their states h and c fit into a CPU's cache.
BLOCK = 64
_HEAD = struct.Struct("<4sB8sI")
_CHECKSUM = struct.Struct("<I")
_START = _HEAD.size + _CHECKSUM.size
_VARINT_BITS = 63


class Group(NamedTuple):
    """Images of one size, and the streams that code them."""

    images: int
    height: int
    width: int
    streams: Sequence[Bytes]


class Contents(NamedTuple):
    """The contents of a file."""

    profile: int
    fingerprint: bytes
    checksum: int
    groups: list[Group]


def stream_spans(images: int, streams: int) -> list[Span]:
    return [(images * s // streams, images * (s + 1) // streams) for s in range(streams)]


def blocks(first: int, last: int) -> list[Span]:
    return [(i, min(i + BLOCK, last)) for i in range(first, last, BLOCK)]


def checksum(groups: Iterable[Tensor], crc: int = 0) -> int:
    """Returns the checksum of images that follow images with the checksum ``crc``."""
    for images in groups:
        crc = zlib.crc32(images.to("cpu", torch.int16).contiguous().numpy().astype("<i2", copy=False).data, crc)
    return crc


def write(contents: Contents) -> bytes:
    profile, fingerprint, images_checksum, groups = contents
    if not 0 <= profile < 16 or len(fingerprint) != 8:
        raise ValueError(f"expected a profile below 16 and 8 bytes of fingerprint, got {profile} and {fingerprint!r}")
    numbers = [len(groups)]
    payload: list[Bytes] = []
    for groups_left, (images, height, width, streams) in zip(range(len(groups) - 1, -1, -1), groups):
        lengths = [len(stream) for stream in streams]
        if not _fit(images, height, width, lengths):
            expected = f"streams of {images} images of {height}x{width}"
            raise ValueError(f"expected {expected}, got these bytes of each: {lengths}")
        numbers += [images, height, width, len(lengths), *(lengths if groups_left else lengths[:-1])]
        payload += streams
    body = b"".join([*map(_varint, numbers), *payload])
    head = _HEAD.pack(MAGIC, VERSION | profile << 4, fingerprint, images_checksum)
    return head + _CHECKSUM.pack(zlib.crc32(body, zlib.crc32(head))) + body


def read(data: Bytes) -> Contents:
    """Parses a file. The streams are views of ``data``, not copies.

    Raises TypeError if ``data`` is not bytes, and ValueError if it is not a complete file of this format.
    """
    try:
        view = memoryview(data).cast("B")
    except TypeError:
        raise TypeError(f"expected bytes, got {type(data).__name__}") from None
    if view[: len(MAGIC)] != MAGIC:
        raise ValueError("expected a file of this codec, got another one")
    if len(view) < _START:
        raise ValueError("the file is not complete: its end is missing")
    _, version, fingerprint, images_checksum = _HEAD.unpack_from(view)
    if version & 15 != VERSION:
        raise ValueError(f"expected a file of format {VERSION}, got one of format {version & 15}")
    (stored,) = _CHECKSUM.unpack_from(view, _HEAD.size)
    if zlib.crc32(view[_START:], zlib.crc32(view[: _HEAD.size])) != stored:
        raise ValueError("the file is damaged or not complete: its checksum does not fit")
    return Contents(version >> 4, fingerprint, images_checksum, _read_groups(view[_START:]))


def _fit(images: int, height: int, width: int, lengths: list[int]) -> bool:
    streams_fit = 1 <= len(lengths) <= images and min(lengths) >= 1 if lengths else images == 0
    return streams_fit and height >= 1 and width >= 1


def _read_groups(view: memoryview) -> list[Group]:
    numbers, sizes, streams = _VarintReader(view), [], 0
    for groups_left in range(numbers.next() - 1, -1, -1):
        images, height, width, streams = (numbers.next() for _ in range(4))
        sizes.append((images, height, width, [numbers.next() for _ in range(streams if groups_left else streams - 1)]))
    offset = numbers.offset
    rest = len(view) - offset - sum(sum(lengths) for *_, lengths in sizes)
    if streams:
        sizes[-1][-1].append(rest)
    elif rest:
        raise ValueError("the file is damaged: its parts do not add up to its size")
    groups = []
    for images, height, width, lengths in sizes:
        if not _fit(images, height, width, lengths):
            raise ValueError("the file is damaged: its header contradicts itself")
        ends = list(itertools.accumulate(lengths, initial=offset))
        groups.append(Group(images, height, width, [view[i:j] for i, j in itertools.pairwise(ends)]))
        offset = ends[-1]
    return groups


def _varint(number: int) -> bytes:
    out = []
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


class _VarintReader:
    def __init__(self, view: memoryview) -> None:
        self.view, self.offset = view, 0

    def next(self) -> int:
        number = 0
        for shift in range(0, _VARINT_BITS, 7):
            if self.offset == len(self.view):
                raise ValueError("the file is damaged: it ends within its numbers")
            byte = self.view[self.offset]
            self.offset += 1
            number |= (byte & 127) << shift
            if byte < 128:
                if shift and not byte:
                    raise ValueError("the file is damaged: a number in it is longer than it needs to be")
                return number
        raise ValueError(f"the file is damaged: a number in it has more than {_VARINT_BITS} bits")
