import itertools
import re
import struct
import tracemalloc
import zlib

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from pixelrnn_ext.codec.container import Contents, Group, checksum, read, stream_spans, write

from .forged import CHECKSUM_END, file_of, varint, with_checksum

COUNT = st.one_of(st.integers(1, 200), st.integers(1, 2**63 - 1))
STREAMS = st.lists(st.binary(min_size=1, max_size=200), min_size=1, max_size=4)
GROUP = st.one_of(
    STREAMS.flatmap(lambda s: st.builds(Group, st.integers(len(s), 2**63 - 1), COUNT, COUNT, st.just(s))),
    st.builds(Group, st.just(0), COUNT, COUNT, st.just([])),
)
CONTENTS = st.builds(
    Contents,
    st.integers(0, 15),
    st.binary(min_size=8, max_size=8),
    st.integers(0, 2**32 - 1),
    st.lists(GROUP, max_size=4),
)

TWO_IMAGES, NO_IMAGES = Group(2, 3, 4, [b"ab", b"c"]), Group(0, 3, 4, [])
SMALL = Contents(0, bytes(range(8)), 0x01020304, [Group(3, 5, 300, [b"ab", b"c"]), Group(1, 1, 1, [b"\0"])])


@given(CONTENTS)
@example(SMALL._replace(groups=[]))
@example(SMALL._replace(groups=[NO_IMAGES]))
@example(SMALL._replace(groups=[TWO_IMAGES, NO_IMAGES]))
@example(SMALL._replace(groups=[NO_IMAGES, TWO_IMAGES]))
@example(SMALL._replace(groups=[TWO_IMAGES, TWO_IMAGES]))
def test_round_trip(contents):
    file = write(contents)
    assert read(file) == contents
    assert write(read(bytearray(file))) == file


def test_a_file_is_laid_out_as_its_format_says():
    body = bytes([2, 3, 5, 300 & 127 | 128, 300 >> 7, 2, 2, 1, 1, 1, 1, 1]) + b"abc\0"
    head = b"\x8bPRN\x01" + bytes(range(8)) + b"\4\3\2\1"
    assert write(SMALL) == head + struct.pack("<I", zlib.crc32(head + body)) + body
    assert write(SMALL._replace(profile=5))[4] == 0x51


def test_streams_are_views():
    file = bytearray(write(SMALL))
    stream = read(file).groups[0].streams[0]
    file[-4] = ord("z")
    assert stream == b"zb"


@pytest.mark.parametrize(
    "data", ["text", None, 3, torch.zeros(3, dtype=torch.uint8), [1, 2]], ids=lambda d: type(d).__name__
)
def test_what_is_not_bytes_is_refused(data):
    with pytest.raises(TypeError, match=f"^expected bytes, got {type(data).__name__}$"):
        read(data)


HEAD = write(SMALL)[:CHECKSUM_END]
ANOTHER = "expected a file of this codec, got another one"
FORMAT = "expected a file of format 1, got one of format"
CHECKSUM = "the file is damaged or not complete: its checksum does not fit"
DAMAGED = "the file is damaged: "
ENDS = DAMAGED + "it ends within its numbers"
PARTS = DAMAGED + "its parts do not add up to its size"
NUMBERS = DAMAGED + "its header contradicts itself"
REFUSED = {
    "empty": (b"", ANOTHER),
    "another file": (b"\x89PNG\r\n\x1a\n" + bytes(30), ANOTHER),
    "no end of the head": (HEAD[:20], "the file is not complete: its end is missing"),
    "another format": (HEAD[:4] + b"\x02" + HEAD[5:], f"{FORMAT} 2"),
    "format 0": (HEAD[:4] + b"\x10" + HEAD[5:], f"{FORMAT} 0"),
    "no end": (write(SMALL)[:-1], CHECKSUM),
    "more behind it": (write(SMALL) + b"a", CHECKSUM),
    "no numbers": (file_of(), ENDS),
    "half a number": (file_of(varints=b"\x80"), ENDS),
    "a number with a zero": (
        file_of(varints=varint(1, 2) + bytes([1, 1, 1, 1]), payload=b"a"),
        DAMAGED + "a number in it is longer than it needs to be",
    ),
    "a number of 64 bits": (file_of(2**63), DAMAGED + "a number in it has more than 63 bits"),
    "a number of 70 bytes": (file_of(varints=b"\xff" * 70), DAMAGED + "a number in it has more than 63 bits"),
    "groups that are not there": (file_of(2, 1, 1, 1, 1, 1, payload=b"a"), ENDS),
    "bytes behind no group": (file_of(0, payload=b"a"), PARTS),
    "bytes behind no image": (file_of(1, 0, 1, 1, 0, payload=b"a"), PARTS),
    "no stream": (file_of(1, 1, 1, 1, 0), NUMBERS),
    "bytes of no stream": (file_of(1, 1, 1, 1, 0, payload=b"a"), PARTS),
    "a stream of no image": (file_of(1, 0, 1, 1, 1, payload=b"a"), NUMBERS),
    "more streams than images": (file_of(1, 1, 1, 1, 2, 1, payload=b"ab"), NUMBERS),
    "a stream without bytes": (file_of(1, 2, 1, 1, 2, 0, payload=b"ab"), NUMBERS),
    "a last stream without bytes": (file_of(1, 1, 1, 1, 1), NUMBERS),
    "a stream beyond the end": (file_of(1, 2, 1, 1, 2, 5, payload=b"ab"), NUMBERS),
    "parts beyond the end": (file_of(2, 1, 1, 1, 1, 5, 0, 1, 1, 0, payload=b"ab"), PARTS),
    "no height": (file_of(1, 1, 0, 1, 1, payload=b"a"), NUMBERS),
    "no width": (file_of(1, 1, 1, 0, 1, payload=b"a"), NUMBERS),
    "no height of no image": (file_of(1, 0, 0, 1, 0), NUMBERS),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_file_is_refused_in_a_sentence(name):
    data, sentence = REFUSED[name]
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        read(data)


def is_refused(data):
    try:
        read(data)
    except ValueError:
        return True
    return False


def test_every_other_value_of_every_byte_is_refused():
    file = write(SMALL)
    for at, change in itertools.product(range(len(file)), range(1, 256)):
        damaged = bytearray(file)
        damaged[at] ^= change
        assert is_refused(damaged), (at, change)


def test_every_other_length_is_refused():
    file = write(SMALL)
    assert all(is_refused(file[:length]) for length in range(len(file)))
    assert all(is_refused(file + bytes(more)) for more in range(1, 40))


@given(st.binary(max_size=60))
def test_a_forged_file_is_read_as_it_would_be_written_or_refused(body):
    file = file_of(payload=body)
    if not is_refused(file):
        assert write(read(file)) == file


def test_no_byte_that_is_forged_makes_another_file_of_the_same_contents():
    file = write(SMALL)
    for at, change in itertools.product(range(CHECKSUM_END, len(file)), range(1, 256)):
        forged = with_checksum(file[:at] + bytes([file[at] ^ change]) + file[at + 1 :])
        if not is_refused(forged):
            assert read(forged) != SMALL and write(read(forged)) == forged


HUGE = 2**63 - 1


@pytest.mark.parametrize(
    "file",
    [
        file_of(HUGE),
        file_of(HUGE, 0, 1, 1, 0),
        file_of(1, HUGE, 1, 1, HUGE, 1, payload=b"a"),
        file_of(2, HUGE, 1, 1, HUGE, 1, payload=b"a"),
        file_of(1, HUGE, HUGE, HUGE, 2, HUGE, payload=b"a"),
        file_of(2, 2, 1, 1, 2, HUGE, HUGE, 1, 1, 1, 1, payload=b"a"),
    ],
    ids=["groups", "groups without images", "streams", "streams of the first group", "bytes", "sums of bytes"],
)
def test_huge_counts_take_no_memory(file):
    tracemalloc.start()
    try:
        assert is_refused(file)
        assert tracemalloc.get_traced_memory()[1] < 20_000
    finally:
        tracemalloc.stop()


def test_huge_images_are_only_claimed():
    assert read(file_of(1, HUGE, HUGE, HUGE, 1, payload=b"a")).groups == [Group(HUGE, HUGE, HUGE, [b"a"])]


@pytest.mark.parametrize(
    ("contents", "sentence"),
    [
        (SMALL._replace(profile=16), "expected a profile below 16"),
        (SMALL._replace(fingerprint=bytes(7)), "8 bytes of fingerprint"),
        (
            SMALL._replace(groups=[Group(1, 2, 3, [b"a", b"b"])]),
            "expected streams of 1 images of 2x3, got these bytes of each: [1, 1]",
        ),
        (SMALL._replace(groups=[Group(1, 2, 3, [])]), "expected streams of 1 images"),
        (SMALL._replace(groups=[Group(1, 0, 3, [b"a"])]), "expected streams of 1 images of 0x3"),
        (SMALL._replace(groups=[Group(1, 2, 3, [b""])]), "got these bytes of each: [0]"),
    ],
)
def test_what_could_not_be_read_is_not_written(contents, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        write(contents)


@given(st.integers(0, 50), st.integers(1, 50))
def test_shares_are_all_images_in_order(images, streams):
    parts = stream_spans(images, streams)
    assert [image for first, last in parts for image in range(first, last)] == list(range(images))
    assert len(parts) == streams
    sizes = [last - first for first, last in parts]
    assert max(sizes) - min(sizes) <= 1


def test_the_checksum_is_that_of_the_values_alone():
    first, second = torch.randint(256, (3, 2, 4, 5)), torch.randint(4096, (1, 2, 3, 3))
    values = [*first.flatten().tolist(), *second.flatten().tolist()]
    expected = zlib.crc32(struct.pack(f"<{len(values)}h", *values))
    as_they_come = [first.to(torch.uint8).to(memory_format=torch.channels_last), second.to(torch.int32)]
    assert checksum([first, second]) == checksum(as_they_come) == expected
    assert checksum([first, torch.zeros(0, 2, 7, 7), second]) == expected
    assert checksum([]) == 0
