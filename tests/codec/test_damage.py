import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from helpers import child
from helpers.checks import native
from pixelrnn_ext.codec import Codec

from .examples import images_of, model_of
from .forged import CHECKSUM_END, file_of, varint, with_checksum

# One thread is faster than several for such small images.
pytestmark = [pytest.mark.usefixtures("threads"), pytest.mark.parametrize("threads", [1], indirect=True)]
MEMORY = 1 << 22


class EncodedImages:
    def __init__(self, model, *sizes):
        self.codec = Codec(model)
        self.groups = [images_of(model, *size) for size in sizes]
        self.file = self.codec.compress(self.groups, streams=2)

    def decodes(self, file):
        """Returns whether a file gives the original images. Otherwise the error must have one line."""
        try:
            groups = self.codec.decompress_groups(file, max_bytes=MEMORY)
        except ValueError as error:
            assert "\n" not in str(error)
            return False
        assert all(map(torch.equal, groups, self.groups)) and len(groups) == len(self.groups)
        return True


SIZES = dict(hidden_channels=3, num_layers=1, head_channels=4)


@pytest.fixture(scope="module", params=["one group", "two groups"])
def encoded(request):
    if request.param == "one group":
        return EncodedImages(model_of("diagonal", **SIZES), (4, 6, 5))
    return EncodedImages(model_of("row", 3, 17, **SIZES), (3, 2, 4), (1, 5, 3))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda file: file + bytes(9), "a stream continues after its images"),
        (lambda file: file[:-2], "a stream ends before its images do|the images do not have the checksum"),
    ],
    ids=["longer", "shorter"],
)
def test_a_stream_of_another_length_is_refused(encoded, change, message):
    with pytest.raises(ValueError, match=message):
        encoded.codec.decompress_groups(with_checksum(change(encoded.file)))


def test_a_stream_that_ends_early_is_noticed_early():
    codec, rows = Codec(model_of("pixelcnn", 1, 256, **SIZES)), []
    file = file_of(1, 1, 2000, 3, 1, payload=b"abcdefgh", fingerprint=codec.fingerprint)
    with pytest.raises(ValueError, match="a stream ends before its images do"):
        codec.decompress(file, progress=lambda *at: rows.append(at))
    assert len(rows) < 20


AWKWARD = [0, 1, 2, 3, 7, 127, 128, 300, 4096, 2**20, 2**31, 2**40, 2**62, 2**63 - 1, 2**63]


def forged(file, rng):
    data = bytearray(file)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(4, len(data))
        # Half of the damage hits the counts that follow the checksum, such as the number of images.
        at = rng.randrange(CHECKSUM_END, CHECKSUM_END + 12) if rng.random() < 0.5 else at
        match rng.randrange(5):
            case 0:
                data[at] ^= 1 << rng.randrange(8)
            case 1:
                data[at] = rng.randrange(256)
            case 2:
                del data[at : at + rng.choice((1, 1, 2, 9))]
            case 3:
                data[at:at] = rng.randbytes(rng.choice((1, 1, 2, 9)))
            case 4:
                data[at : at + 1] = varint(rng.choice(AWKWARD))
        data += bytes(max(0, CHECKSUM_END + 12 - len(data)))
    return with_checksum(bytes(data))


@pytest.mark.parametrize("count", [150, pytest.param(1500, marks=pytest.mark.sweep)])
def test_forged_files_are_refused_or_are_the_images(encoded, count):
    assert encoded.decodes(encoded.file)
    rng = random.Random(count)
    accepted = sum(encoded.decodes(forged(encoded.file, rng)) for _ in range(count))
    # A few forged files still decode to the right images, because the last bytes may not matter.
    assert accepted < count / 20


def test_huge_images_are_refused_before_anything_is_made(encoded):
    mark = encoded.codec.fingerprint
    for height, width in ((2**63 - 1, 2**63 - 1), (1, 2**63 - 1), (2**40, 2**30), (2**31, 1), (1, 2**31)):
        for numbers, payload in (((1, 1, height, width, 1), b"a"), ((1, 0, height, width, 0), b"")):
            with pytest.raises(ValueError, match="expected a file that decodes within max_bytes"):
                encoded.codec.decompress(file_of(*numbers, payload=payload, fingerprint=mark))


linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")


def memory(*words):
    command = [sys.executable, Path(__file__).with_name("memory.py"), *map(str, words)]
    done = subprocess.run(command, env=child.environment(child.TESTS), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@linux
@native  # a pixel takes 2 ms without the native code
@pytest.mark.parametrize("kind", ["pixelcnn", pytest.param("row", marks=pytest.mark.sweep)])
def test_encoding_keeps_no_maps_of_a_whole_image(kind):
    """Encoding takes less than 100 bytes a pixel. A float64 map of 16 channels would take 128."""
    low, high = (memory("encoding_takes", kind, height, 150) for height in (230, 530))
    assert low > 16 * 230 * 150
    # The allocator may keep up to 16 MiB of freed memory.
    assert high - low < 100 * 300 * 150 + (16 << 20)


@linux
@native
@pytest.mark.sweep
def test_compressing_more_groups_takes_no_more_memory():
    """The images are in memory before. A copy of them of 8 bytes a value would be too much."""
    few, many = 256, 4096
    low, high = (memory("command_takes", "pixelcnn", images) for images in (few, many))
    assert high - low < 4 * (many - few) * 32 * 32


@linux
@pytest.mark.parametrize(
    "kind,size",
    [
        pytest.param("diagonal", (8, 2, 900), id="wide images"),
        pytest.param("diagonal", (70, 600, 24), id="tall images", marks=pytest.mark.sweep),
        pytest.param("multi-scale", (8, 80, 80), id="multi-scale", marks=pytest.mark.sweep),
        pytest.param("conditional", (8, 125, 125), id="conditional", marks=pytest.mark.sweep),
    ],
)
def test_decoding_takes_the_memory_that_is_allowed(kind, size):
    allowed, taken = memory("decoding_takes", kind, *size)
    assert allowed > 30 << 20
    assert taken <= 1.1 * allowed + (2 << 20)
