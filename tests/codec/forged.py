"""Files that are not what a codec wrote, with checksums that fit."""

import struct
import zlib

HEAD, START = 17, 21  # where the file's own checksum begins and ends


def varint(number, bytes_at_least=1):
    out = bytearray()
    while number > 127 or len(out) < bytes_at_least - 1:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def with_checksum(file):
    return file[:HEAD] + struct.pack("<I", zlib.crc32(file[:HEAD] + file[START:])) + file[START:]


def file_of(*numbers, payload=b"", varints=None, fingerprint=bytes(8)):
    """Returns a file with these numbers."""
    body = b"".join(map(varint, numbers)) if varints is None else varints
    return with_checksum(b"\x8bPRN\x01" + fingerprint + bytes(8) + body + payload)
