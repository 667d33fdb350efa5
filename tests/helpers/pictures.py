import hashlib
import os

import numpy
from PIL import Image, ImageSequence

NAMES = [f"{animal}/{i}.png" for animal in ("cats", "dogs") for i in range(12)]


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def named_pixels(name):
    """Returns random gray pixels, 8 x 8, which are the same for the same name."""
    seed = int.from_bytes(hashlib.sha256(os.fsencode(name)).digest()[:4], "little")
    return numpy.random.default_rng(seed).integers(0, 256, (8, 8), dtype=numpy.uint8)


def write_named_pictures(path, names=NAMES):
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(named_pixels(name)).save(path / name, "png")
    return path


def frames_of(file):
    """Returns the frames of an animated image as tuples (RGB pixels (H, W, 3), milliseconds)."""
    with Image.open(file) as opened:
        return [(numpy.array(frame.convert("RGB")), frame.info["duration"]) for frame in ImageSequence.Iterator(opened)]
