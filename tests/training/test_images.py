import os
import struct
from unittest.mock import Mock

import numpy
import pytest
from PIL import Image, ImageFile

from pixelrnn_ext.training.images import pixel_limit, read_image


def test_deep_and_transparent_pictures(tmp_path):
    file, values = tmp_path / "picture.png", [[[0, 0, 1, 100, 255]]]
    deep = numpy.array([[0, 128, 129, 257 * 100, 65535]], numpy.uint16)
    Image.fromarray(deep).save(file)
    assert read_image(file, gray=True).tolist() == values
    assert read_image(file).tolist() == values * 3
    for order in "<>":
        tagged = Image.frombytes("I;16" if order == "<" else "I;16B", (5, 1), deep.astype(f"{order}u2").tobytes())
        tagged.save(tmp_path / "deep.tif")
        assert read_image(tmp_path / "deep.tif", gray=True).tolist() == values
    Image.fromarray(numpy.array([[[255, 200, 100, 0], [255, 200, 100, 255]]], numpy.uint8)).save(file)
    assert read_image(file)[:, 0].tolist() == [[0, 255], [0, 200], [0, 100]]
    assert read_image(file, gray=True)[0, 0, 0] == 0
    Image.fromarray(numpy.ones((2, 2), numpy.float32)).save(tmp_path / "float.tif")
    with pytest.raises(ValueError, match="float.tif cannot be read .*: expected 8 or 16 bits a channel, got mode F"):
        read_image(tmp_path / "float.tif")


def test_fits(tmp_path):
    file = tmp_path / "columns.png"
    Image.fromarray(numpy.arange(8, dtype=numpy.uint8)[None].repeat(4, 0) * 10).save(file)

    def fitted(size, fit):
        return read_image(file, size, fit=fit, gray=True)[0]

    assert fitted((2, 4), "cut").tolist() == [[20, 30, 40, 50]] * 2
    assert fitted((4, 4), "crop").tolist() == [[20, 30, 40, 50]] * 4
    squashed = fitted((4, 4), "squash")[0].tolist()
    assert squashed == sorted(squashed) and squashed[0] < 10 and squashed[3] > 60
    with pytest.raises(ValueError, match="columns.png cannot be read as an image: it is smaller than 5x4"):
        fitted((5, 4), "cut")


@pytest.mark.parametrize(
    ("header", "values"),
    [
        (b"P5 3 1 65535\n", numpy.array([0, 25700, 65535], ">u2").tobytes()),
        (b"P5 3 1 1023\n", numpy.array([0, 401, 1023], ">u2").tobytes()),
    ],
)
def test_deep_pgm(tmp_path, header, values):
    (tmp_path / "deep.pgm").write_bytes(header + values)
    assert read_image(tmp_path / "deep.pgm", gray=True).tolist() == [[[0, 100, 255]]]


@pytest.fixture
def picture(tmp_path):
    file = tmp_path / "picture.png"
    Image.new("L", (6, 4), 200).save(file)
    return file


@pytest.mark.parametrize(
    "error",
    [RuntimeError("decoder\n failed"), KeyError(277), AssertionError(), KeyboardInterrupt(), MemoryError()],
    ids=lambda error: type(error).__name__,
)
def test_whatever_a_decoder_raises_names_the_file(picture, monkeypatch, error):
    """KeyboardInterrupt and MemoryError keep their type, because the picture did not cause them."""
    monkeypatch.setattr(ImageFile.ImageFile, "load", Mock(side_effect=error))
    why = " ".join(str(error).split()) or "AssertionError"
    others = {KeyboardInterrupt: "^$", MemoryError: "picture.png does not fit into"}
    raised = type(error) if type(error) in others else ValueError
    with pytest.raises(raised, match=others.get(type(error), f"picture.png cannot be read as an image: {why}$")):
        read_image(picture)


@pytest.mark.parametrize(
    "make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)], ids=["fifo", "folder", "device"]
)
def test_what_is_no_file_is_not_opened(tmp_path, monkeypatch, make):
    make(tmp_path / "x.png")
    monkeypatch.setattr("builtins.open", None)
    with pytest.raises(ValueError, match="x.png cannot be read as an image: it is no regular file"):
        read_image(tmp_path / "x.png")


def bitmap(width, height):
    return b"P4 %d %d\n" % (width, height)


def icon(width, height):
    """Returns an icon that claims 16x16 pixels, and whose bitmap claims ``width`` x ``height`` pixels."""
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 1, 0, 0, 0, 0, 2, 0)
    return struct.pack("<HHH BBBBHHII", 0, 1, 1, 16, 16, 0, 0, 1, 32, len(header), 22) + header


@pytest.mark.parametrize("make", [bitmap, icon])
@pytest.mark.parametrize("width", [6401, 20000])
def test_a_large_picture_is_refused_before_it_is_decoded(tmp_path, make, width):
    file = tmp_path / "large.png"
    file.write_bytes(make(width, 10_000))
    expected = f"expected at most 64000000 pixels, which --max-pixels can raise, got {width * 10_000}$"
    with pixel_limit(), pytest.raises(ValueError, match=f"large.png cannot be read as an image: {expected}"):
        read_image(file)


def test_the_limit_of_pixels(picture):
    before = Image.MAX_IMAGE_PIXELS
    with pixel_limit(24):
        assert read_image(picture, gray=True).unique().tolist() == [200]
    with pixel_limit(23), pytest.raises(ValueError, match="expected at most 23 pixels, .*, got 24$"):
        read_image(picture)
    assert Image.MAX_IMAGE_PIXELS == before


def test_an_animation_is_its_first_picture(tmp_path):
    frames = [Image.new("L", (5, 5), value) for value in (30, 60, 90)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    assert read_image(tmp_path / "moving.gif").unique().tolist() == [30]
