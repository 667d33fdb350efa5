"""Pictures that tests write and read, and what a folder holds."""

import hashlib
import os

import numpy
from PIL import Image, ImageSequence

NAMES = [f"{animal}/{i}.png" for animal in ("cats", "dogs") for i in range(12)]


def names_in(folder):
    """Returns the sorted names of what a folder holds."""
    return sorted(path.name for path in folder.iterdir())


def named_pixels(name):
    """Returns the picture of that name, another one for every name."""
    seed = int.from_bytes(hashlib.sha256(os.fsencode(name)).digest()[:4], "little")
    return numpy.random.default_rng(seed).integers(0, 256, (8, 8), dtype=numpy.uint8)


def write_named_pictures(path, names=NAMES):
    """Writes PNG files of 8 x 8 gray pixels into a folder, which it returns."""
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(named_pixels(name)).save(path / name, "png")
    return path


def frames_of(file):
    """Returns the frames of an animation: RGB pixels (H, W, 3) and milliseconds."""
    with Image.open(file) as opened:
        return [(numpy.array(frame.convert("RGB")), frame.info["duration"]) for frame in ImageSequence.Iterator(opened)]
