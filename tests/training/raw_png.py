"""PNG files of bits that Pillow cannot write."""

import struct
import zlib


def raw_png(width, height, depth, kind, rows=()):
    """Returns a PNG file whose header has these numbers, and whose pixels are the bytes of ``rows``."""
    chunks = [
        b"IHDR" + struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0),
        b"IDAT" + zlib.compress(b"".join(b"\0" + row for row in rows)),
        b"IEND",
    ]
    framed = (struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)
