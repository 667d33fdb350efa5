import io
import struct
import zlib

import numpy
import pytest
import tifffile
import torch
from PIL import Image

from pixelrnn_ext.training.exact_images import check_model, encode_png, read_exact

GRAY = numpy.arange(24, dtype=numpy.uint8).reshape(4, 6) * 11
GRAY_CHANNELS = GRAY[..., None].repeat(3, 2)
COLOURS = numpy.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=numpy.uint8)


def check_pixels(file, pixels):
    pixels = torch.from_numpy(pixels.copy())
    pixels = pixels[None] if pixels.dim() == 2 else pixels.permute(2, 0, 1)
    assert torch.equal(read_exact(file, len(pixels), 256), pixels)


def with_palette(indices, colours):
    image = Image.fromarray(indices)
    image.putpalette(colours.tobytes())
    return image


# The palette of FEW_GRAYS has unused colours, and its grays are out of order.
FEW_COLOURS = with_palette(GRAY // 11, numpy.random.default_rng(1).integers(0, 256, 72, dtype=numpy.uint8))
REVERSED = GRAY.max() - GRAY
FEW_GRAYS = with_palette(GRAY // 11, numpy.append(REVERSED.repeat(3), numpy.uint8([1, 2, 3])))
GRAY_IMAGE, COLOUR_IMAGE, GRAY_IN_RGB = (Image.fromarray(pixels) for pixels in (GRAY, COLOURS, GRAY_CHANNELS))
LOSSLESS, TURNED = dict(lossless=True), dict(exif=Image.Exif())
TURNED["exif"][0x0112] = 6  # a viewer turns the picture by 90 degrees
PLAIN, COMPRESSIONS = ((GRAY_IMAGE, GRAY), (COLOUR_IMAGE, COLOURS)), ("tiff_lzw", "tiff_deflate", "packbits")
READABLE = [
    *((image, kind, {}, pixels) for image, pixels in PLAIN for kind in ("PNG", "BMP", "TIFF", "PPM")),
    *((image, "TIFF", dict(compression=how), pixels) for image, pixels in PLAIN for how in COMPRESSIONS),
    (COLOUR_IMAGE, "WEBP", LOSSLESS, COLOURS),
    *((FEW_COLOURS, kind, {}, numpy.array(FEW_COLOURS.convert("RGB"))) for kind in ("PNG", "GIF")),
    *((FEW_GRAYS, kind, {}, REVERSED) for kind in ("PNG", "GIF", "BMP")),
    *((GRAY_IN_RGB, kind, {}, GRAY) for kind in ("BMP", "PPM", "TIFF")),
    *((GRAY_IN_RGB, kind, LOSSLESS | TURNED, numpy.rot90(GRAY, -1)) for kind in ("PNG", "WEBP")),
    (GRAY_IMAGE, "PNG", TURNED, numpy.rot90(GRAY, -1)),
    (COLOUR_IMAGE, "WEBP", LOSSLESS | TURNED, numpy.rot90(COLOURS, -1)),
    *((image, "TIFF", TURNED, numpy.rot90(pixels, -1)) for image, pixels in PLAIN),
    (GRAY_IMAGE, "TIFF", dict(compression="tiff_lzw") | TURNED, numpy.rot90(GRAY, -1)),
]


@pytest.mark.parametrize(("image", "kind", "options", "pixels"), READABLE)
def test_what_is_shown_is_kept(tmp_path, image, kind, options, pixels):
    """Some formats store a gray picture with a palette or as RGB."""
    image.save(tmp_path / "x", kind, **options)
    with Image.open(tmp_path / "x") as picture:
        assert picture.mode == image.mode
    check_pixels(tmp_path / "x", pixels)


@pytest.mark.parametrize("image", [COLOUR_IMAGE, GRAY_IN_RGB], ids=["colours", "gray"])
def test_a_jpeg_is_what_it_is_decoded_to(tmp_path, image):
    image.save(tmp_path / "x.jpg", **TURNED)
    with Image.open(tmp_path / "x.jpg") as decoded:
        pixels = numpy.rot90(numpy.array(decoded), -1)
    check_pixels(tmp_path / "x.jpg", pixels[..., 0] if image is GRAY_IN_RGB else pixels)


@pytest.mark.parametrize("levels", [2, 3, 7, 17, 255, 256])
@pytest.mark.parametrize("channels", [1, 3], ids=["gray", "RGB"])
def test_levels_are_bytes(tmp_path, channels, levels):
    image = torch.arange(channels * levels * 2).view(channels, 2, levels) % levels
    (tmp_path / "x.png").write_bytes(encode_png(image, levels))
    assert torch.equal(read_exact(tmp_path / "x.png", channels, levels), image.to(torch.uint8))
    with Image.open(tmp_path / "x.png") as made:
        pixels = numpy.array(made.convert("L" if channels == 1 else "RGB")).reshape(2, levels, channels)
    for v, byte in zip(image[0, 0].tolist(), pixels[0, :, 0].tolist()):
        assert byte == round(v * 255 / (levels - 1))


def test_two_levels_of_gray_are_a_bit(tmp_path):
    (tmp_path / "x.png").write_bytes(encode_png(torch.eye(5).long()[None], 2))
    with Image.open(tmp_path / "x.png") as made:
        assert made.mode == "1"
        made.convert("L").save(tmp_path / "gray.png")
    assert torch.equal(read_exact(tmp_path / "gray.png", 1, 2), torch.eye(5, dtype=torch.uint8)[None])


def encode(mode, kind, pixels=COLOURS, **options):
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, kind, **options)
    return file.getvalue()


def tiff(pixels, photometric="rgb", **options):
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, photometric=photometric, **options)
    return file.getvalue()


def deep_png():
    """Returns a PNG whose header says 16 bits per channel, because Pillow cannot write an RGB one."""
    content = bytearray(encode("RGB", "PNG"))
    content[24] = 16
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    return bytes(content)


def encode_frames(kind):
    file = io.BytesIO()
    frames = [Image.fromarray(GRAY + i) for i in range(3)]
    frames[0].save(file, kind, save_all=True, append_images=frames[1:])
    return file.getvalue()


WITH_ALPHA = numpy.concatenate([COLOURS, GRAY[..., None]], 2)
RED = GRAY_CHANNELS.copy()
RED[-1, -1, 0] += 1
SIXTEEN_BITS = numpy.arange(6, dtype=numpy.uint16).reshape(2, 3) * 9999
DIFFER = "RGB whose channels differ"
REFUSED = {
    "opaque alpha": (1, encode("LA", "PNG"), "transparency"),
    "transparent colour": (3, encode("RGB", "PNG", transparency=(1, 2, 3)), "transparency"),
    "transparent in a palette": (3, encode("P", "PNG", transparency=0), "transparency"),
    "transparent GIF": (3, encode("RGBA", "GIF", WITH_ALPHA), "transparency"),
    "CMYK": (3, encode("CMYK", "JPEG"), "mode CMYK"),
    "float": (1, encode("F", "TIFF", GRAY), "mode F"),
    "16 bits": (1, encode("I;16", "PNG", SIXTEEN_BITS), "mode I;16"),
    "16 bits of colours": (3, deep_png(), "16 bits"),
    "16 bits of colours PPM": (3, b"P6 1 1 65535\n\1\2\3\4\5\6", "16 bits"),
    "10 bits PPM": (3, b"P3 1 1 1023\n1 2 3\n", "10 bits"),
    "16 bits PGM": (1, b"P5 1 1 65535\n\1\2", "mode I"),
    "16 bits of colours TIFF": (3, tiff(numpy.zeros((1, 1, 3), numpy.uint16)), "16 bits"),
    "16 bits of a palette": (3, tiff(GRAY, "palette", colormap=numpy.zeros((3, 256), numpy.uint16)), "16 bits"),
    "a fourth channel": (3, tiff(WITH_ALPHA, extrasamples=[0]), "another channel"),
    "JPEG 2000": (3, encode("RGB", "JPEG2000"), "the format JPEG2000, which may have had more bits"),
    "an animation": (1, encode_frames("GIF"), "3 pictures in one file"),
    "pages": (1, encode_frames("TIFF"), "3 pictures in one file"),
    "a palette for gray": (1, encode("P", "PNG"), DIFFER),
    "GIF of colours for gray": (1, encode("RGB", "GIF"), DIFFER),
    "a red pixel for gray": (1, encode("RGB", "PNG", RED), DIFFER),
    "a blue pixel for gray": (1, encode("RGB", "PNG", RED[..., ::-1]), DIFFER),
    "gray for colours": (3, encode("L", "PNG"), "gray"),
    "black and white for colours": (3, encode("1", "PNG"), "gray"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_would_lose_something_is_refused(tmp_path, kind):
    channels, content, got = REFUSED[kind]
    expected = f"expected one {'gray' if channels == 1 else 'RGB'} picture of 8 bits a channel, got {got}"
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(ValueError, match=f"x.png cannot be kept exactly: {expected}$") as raised:
        read_exact(tmp_path / "x.png", channels, 256)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("levels", "byte"), [(2, 1), (17, 100), (255, 127)])
def test_bytes_that_are_no_level(tmp_path, levels, byte):
    pixels = numpy.array([[0, 255, byte, 0]], numpy.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    expected = f"expected the {levels} bytes that the model's levels are, round.v \\* 255 / {levels - 1}., got {byte}"
    with pytest.raises(ValueError, match=f"x.png cannot be kept exactly: {expected}"):
        read_exact(tmp_path / "x.png", 1, levels)


@pytest.mark.parametrize(("channels", "levels"), [(2, 256), (4, 2), (1, 257), (3, 4096)])
def test_a_model_without_pictures(channels, levels):
    with pytest.raises(ValueError, match=f"expected a model of 1 or 3 channels .*got {channels} and {levels}"):
        check_model(channels, levels)
