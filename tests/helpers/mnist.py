"""Writes small files of random images in the formats of MNIST."""

import gzip

import numpy

LABELS = "train-labels-idx1-ubyte.gz"


def drawn(count, *shape, change=None, levels=256):
    """Returns random images and labels, of which ``change`` is a "pixel", a "label" or None."""
    images = numpy.random.default_rng(count).integers(0, levels, (count, *shape), dtype=numpy.uint8)
    labels = numpy.arange(count, dtype=numpy.uint8) % 10
    images.flat[0] = levels - 1 if change == "pixel" else 0
    labels[0] = 7 if change == "label" else 0
    return images, labels


def write_mnist(folder, monkeypatch=None, change=None, unzipped=False):
    """Writes 60 images for training and 20 for the test: compressed, as they are published, or for torchvision."""
    folder = folder / "MNIST" / "raw" if unzipped else folder
    folder.mkdir(parents=True, exist_ok=True)
    for half, count in (("train", 60), ("t10k", 20)):
        for kind, array in zip(("images-idx3", "labels-idx1"), drawn(count, 28, 28, change=change)):
            header = bytes([0, 0, 8, array.ndim]) + b"".join(side.to_bytes(4, "big") for side in array.shape)
            content, name = header + array.tobytes(), f"{half}-{kind}-ubyte"
            if unzipped:
                (folder / name).write_bytes(content)
            else:
                (folder / f"{name}.gz").write_bytes(gzip.compress(content))
