"""Builds invalid files that have a valid checksum, so that tests reach the checks after the check of the checksum."""

import struct
import zlib

CHECKSUM_BEGIN, CHECKSUM_END = 17, 21  # the checksum's bytes in a file


def varint(number, bytes_at_least=1):
    out = bytearray()
    while number > 127 or len(out) < bytes_at_least - 1:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def with_checksum(file):
    return (
        file[:CHECKSUM_BEGIN]
        + struct.pack("<I", zlib.crc32(file[:CHECKSUM_BEGIN] + file[CHECKSUM_END:]))
        + file[CHECKSUM_END:]
    )


def file_of(*numbers, payload=b"", varints=None, fingerprint=bytes(8)):
    """Returns a file in the codec's format with a valid checksum.

    ``numbers`` are the file's counts, such as the number of images.
    """
    body = b"".join(map(varint, numbers)) if varints is None else varints
    return with_checksum(b"\x8bPRN\x01" + fingerprint + bytes(8) + body + payload)
