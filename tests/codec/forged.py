"""Files that no codec wrote, with valid checksums."""

import struct
import zlib

CHECKSUM_BEGIN, CHECKSUM_END = 17, 21  # byte offsets of the file's checksum


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
    """Returns a codec file with ``numbers`` as varints, and with a valid checksum."""
    body = b"".join(map(varint, numbers)) if varints is None else varints
    return with_checksum(b"\x8bPRN\x01" + fingerprint + bytes(8) + body + payload)
