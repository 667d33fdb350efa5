"""Damaged and forged files: an error of one sentence, in little time and memory, never images that were not sent."""

import ctypes
import multiprocessing
import random
import sys
from pathlib import Path

import pytest
import torch

import pixelrnn_ext as px
from pixelrnn_ext.codec import Codec
from pixelrnn_ext.operators import library

from .forged import START, file_of, varint, with_checksum

# Such small images are faster by one thread, on a busy machine by far.
pytestmark = [pytest.mark.usefixtures("threads"), pytest.mark.parametrize("threads", [1], indirect=True)]
MEMORY = 1 << 22


class Sent:
    """Images, and their file."""

    def __init__(self, model, *sizes, streams):
        torch.manual_seed(0)
        self.codec = Codec(model)
        self.groups = [torch.randint(model.levels, (n, model.image_channels, h, w)) for n, h, w in sizes]
        self.file = self.codec.compress(self.groups, streams=streams)

    def got(self, file):
        """Whether images came: those that were sent. An error has to be a sentence."""
        try:
            groups = self.codec.decompress_groups(file, max_bytes=MEMORY)
        except ValueError as error:
            assert "\n" not in str(error)
            return False
        assert all(map(torch.equal, groups, self.groups)) and len(groups) == len(self.groups)
        return True


SIZES = dict(hidden_channels=3, num_layers=1, head_channels=4)


@pytest.fixture(scope="module", params=["one group", "two groups"])
def sent(request):
    torch.manual_seed(0)
    if request.param == "one group":
        return Sent(px.PixelRNN("diagonal", image_channels=1, levels=2, **SIZES), (4, 6, 5), streams=2)
    return Sent(px.PixelRNN("row", image_channels=3, levels=17, **SIZES), (3, 2, 4), (1, 5, 3), streams=2)


@pytest.mark.parametrize("bytes_changed", ["last", pytest.param("every", marks=pytest.mark.sweep)])
def test_nothing_but_the_file_is_accepted(sent, bytes_changed):
    """test_container.py changes every byte, and the length, of a small file."""
    file = sent.file
    assert sent.got(file) and not sent.got(file + b"a")
    for at in range(len(file) - 1 if bytes_changed == "last" else 0, len(file)):
        assert not sent.got(file[:at])
        assert not sent.got(file[:at] + bytes([file[at] ^ 1]) + file[at + 1 :])


def test_bytes_behind_a_stream_are_refused(sent):
    """With a checksum that fits."""
    with pytest.raises(ValueError, match="a stream goes on behind its images"):
        sent.codec.decompress_groups(with_checksum(sent.file + bytes(9)))


def test_a_missing_end_of_a_stream_is_refused(sent):
    with pytest.raises(ValueError, match=r"a stream ends before its images do|the images have not the checksum"):
        sent.codec.decompress_groups(with_checksum(sent.file[:-2]))


def test_a_stream_that_ends_early_is_noticed_early():
    """Not when all rows of the image that a forged file claims are there."""
    torch.manual_seed(0)
    codec, rows = Codec(px.PixelCNN(image_channels=1, levels=256, **SIZES)), []
    file = file_of(1, 1, 2000, 3, 1, payload=b"abcdefgh", fingerprint=codec.fingerprint)
    with pytest.raises(ValueError, match="a stream ends before its images do"):
        codec.decompress(file, progress=lambda *at: rows.append(at))
    assert len(rows) < 20


AWKWARD = [0, 1, 2, 3, 7, 127, 128, 300, 4096, 2**20, 2**31, 2**40, 2**62, 2**63 - 1, 2**63]


def forged(file, rng):
    """The file with bytes changed, put in or taken out, and a checksum that fits."""
    data = bytearray(file)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(4, len(data))
        at = rng.randrange(START, START + 12) if rng.random() < 0.5 else at  # where the numbers are
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
        data += bytes(max(0, START + 12 - len(data)))
    return with_checksum(bytes(data))


@pytest.mark.parametrize("count", [150, pytest.param(1500, marks=pytest.mark.sweep)])
def test_forged_files_are_refused_or_are_the_images(sent, count):
    rng = random.Random(count)
    accepted = sum(sent.got(forged(sent.file, rng)) for _ in range(count))
    assert accepted < count / 20  # the last bytes of a stream may be others, since zeros follow them


def test_huge_images_are_refused_before_anything_is_made(sent):
    mark = sent.codec.fingerprint
    for height, width in ((2**63 - 1, 2**63 - 1), (1, 2**63 - 1), (2**40, 2**30), (2**31, 1), (1, 2**31)):
        for numbers, payload in (((1, 1, height, width, 1), b"a"), ((1, 0, height, width, 0), b"")):
            with pytest.raises(ValueError, match="expected a file that decodes within max_bytes"):
                sent.codec.decompress(file_of(*numbers, payload=payload, fingerprint=mark))


LIBC = ctypes.CDLL(None)
M_MMAP_THRESHOLD = -3


def peak():
    return next(int(line.split()[1]) << 10 for line in open("/proc/self/status") if line.startswith("VmHWM"))


def growth(call, *arguments, **options):
    """Returns by how many bytes a call raises the peak of the process's memory."""
    LIBC.malloc_trim(0)  # or else the call takes what was free already
    Path("/proc/self/clear_refs").write_text("5")
    before = peak()
    call(*arguments, **options)
    return peak() - before


def start():
    torch.set_num_threads(1)
    LIBC.mallopt(M_MMAP_THRESHOLD, 1 << 17)  # 128 KiB and more go back to the system when they are freed


def in_a_new_process(function, *arguments):
    with multiprocessing.get_context("spawn").Pool(1, start) as pool:
        return pool.apply(function, arguments)


def encoding_takes(kind, height, width):
    options = dict(image_channels=1, levels=256, hidden_channels=16, num_layers=1, head_channels=16)
    codec = Codec(px.PixelCNN(**options) if kind == "pixelcnn" else px.PixelRNN(kind, **options))
    codec.compress(torch.zeros(1, 1, 2, 2, dtype=torch.uint8))
    return growth(codec.compress, torch.zeros(1, 1, height, width, dtype=torch.uint8))


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
@pytest.mark.skipif(library.why_no_native() is not None, reason=str(library.why_no_native()))  # a pixel takes 2 ms
@pytest.mark.parametrize("kind", ["pixelcnn", pytest.param("row", marks=pytest.mark.sweep)])
def test_encoding_keeps_no_maps_of_a_whole_image(kind):
    """One of which would take 128 bytes a value with 16 channels, and one of logits 2048."""
    low, high = (in_a_new_process(encoding_takes, kind, height, 150) for height in (230, 530))
    assert low > 16 * 230 * 150  # its intervals, at least
    assert high - low < 100 * 300 * 150 + (16 << 20)  # an allocator's


def decoding_takes(kind, n, height, width):
    """Returns the memory that a file needs, as the sentence of a file that is too large says it, and what it takes."""
    sizes, condition = dict(image_channels=1, levels=2, num_layers=1, head_channels=4, hidden_channels=4), None
    if kind == "diagonal":
        model = px.PixelRNN("diagonal", **sizes | dict(hidden_channels=16, num_layers=2, head_channels=16))
    elif kind == "multi-scale":
        model = px.MultiScalePixelRNN("row", upsampling_channels=32, **sizes)
    else:
        model, condition = px.PixelRNN("row", condition_channels=10, **sizes), torch.zeros(n, 10, height, width)
    codec = Codec(model)
    images = torch.zeros(n, 1, height, width, dtype=torch.uint8)
    file = codec.compress(images, condition, streams=1, batch_size=4 + n // 10)
    with pytest.raises(ValueError) as raised:
        codec.decompress(file, condition, max_bytes=1)
    needed = int(str(raised.value).split()[-1])  # just as much: test_codec.py
    few = images[:1, :, :2, :2], condition if condition is None else condition[:1, :, :2, :2]
    codec.decompress(codec.compress(*few), few[1])
    return needed, growth(codec.decompress, file, condition, max_bytes=needed)


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
@pytest.mark.parametrize(
    "kind,size",
    [
        pytest.param("diagonal", (8, 2, 900), id="wide images"),
        pytest.param("diagonal", (70, 600, 24), id="tall images", marks=pytest.mark.sweep),
        pytest.param("multi-scale", (8, 80, 80), id="multi-scale"),
        pytest.param("conditional", (8, 125, 125), id="conditional"),
    ],
)
def test_decoding_takes_the_memory_that_is_allowed(kind, size):
    """Of a file that takes just that; within 10 %, and what the memory's own bookkeeping takes."""
    allowed, taken = in_a_new_process(decoding_takes, kind, *size)
    assert allowed > 30 << 20
    assert taken <= 1.1 * allowed + (2 << 20)
