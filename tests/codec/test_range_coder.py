import itertools
import math
import re

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from pixelrnn_ext.incremental import range_coder
from pixelrnn_ext.incremental.range_coder import MAX_LEVELS, PRECISION, Decoder, Encoder

TOTAL = 2**PRECISION
SYMBOL = st.integers(0, TOTAL - 2).flatmap(lambda start: st.tuples(st.just(start), st.integers(start + 1, TOTAL)))
ONE_PART = st.integers(0, TOTAL - 1).map(lambda start: (start, start + 1))
HUGE = st.integers(0, 7).map(lambda cut: (cut & 1, TOTAL - (cut >> 1)))
INTERVALS = st.lists(st.one_of(SYMBOL, ONE_PART, HUGE), max_size=40)


def encoded(intervals):
    encoder = Encoder()
    for start, stop in intervals:
        encoder.encode(start, stop)
    return encoder.finish()


def table(start, stop):
    """Returns bounds of intervals from 0 to TOTAL, and the index of the interval that begins at ``start``."""
    ends = sorted({0, start, stop, TOTAL})
    return ends, ends.index(start)


def oracle(intervals):
    """Returns the bytes that the range coder must write, computed with one integer of unlimited size."""
    low, size, bits = 0, 2**64 - 1, 64
    for start, stop in intervals:
        part = size // TOTAL
        low, size = low + part * start, part * (stop - start)
        while size < 2**48:
            low, size, bits = low << 8, size << 8, bits + 8
    for left in range(56, -1, -8):
        number = -(-low // 2**left)
        if number * 2**left < low + size:
            return number.to_bytes((bits - left) // 8, "big")


def around_one_half(symbols):
    """Returns intervals after which the first byte may still become 0x7f or 0x80."""
    low, size, half, intervals = 0, 2**64 - 1, 2**63, []
    for _ in range(symbols):
        part = size // TOTAL
        start = (half - low) // part - 1
        intervals.append((start, start + 2))
        low, size = low + part * start, 2 * part
        while size < 2**48:
            low, size, half = low << 8, size << 8, half << 8
    return intervals


@given(INTERVALS)
@example([])
@example([(TOTAL - 1, TOTAL)] * 30)
@example([(0, 1)] * 30)
def test_round_trip(intervals):
    decoder = Decoder(encoded(intervals))
    for interval in intervals:
        ends, symbol = table(*interval)
        assert decoder.decode(ends) == symbol
        assert not decoder.past_end
    assert decoder.finished


@given(INTERVALS)
@example([(TOTAL - 1, TOTAL)] * 5)
@example([*around_one_half(1), (TOTAL - 1, TOTAL)])
@example([*around_one_half(40), (0, 1)])
@example([*around_one_half(40), (TOTAL - 1, TOTAL)])  # the last interval causes a carry through all bytes
def test_the_bytes_are_those_of_arithmetic_without_carries_and_as_few_as_can_be(intervals):
    assert encoded(intervals) == oracle(intervals)


@pytest.mark.parametrize("symbols", [0, 1, 1000])
def test_a_decoder_behind_the_end_says_so(symbols):
    quarters = [0, TOTAL // 4, TOTAL // 2, TOTAL]
    decoder = Decoder(encoded([(TOTAL // 4, TOTAL // 2)] * symbols))
    assert [decoder.decode(quarters) for _ in range(symbols)] == [1] * symbols
    assert decoder.finished and not decoder.past_end
    for _ in range(40):
        if not decoder.past_end:
            decoder.decode(quarters)
    assert decoder.past_end


def test_a_decoder_is_behind_the_end_once_it_has_read_eight_zeros():
    decoder = Decoder(encoded([]))
    assert not decoder.past_end
    # Decoding this interval makes the range smaller than 2^48, so the decoder reads a byte.
    assert decoder.decode([0, 2**6, TOTAL]) == 0
    assert decoder.past_end


def test_a_decoder_before_the_end_says_so():
    decoder = Decoder(encoded([(0, 1)] * 10) + b"\0")
    for _ in range(3):
        decoder.decode([0, 1, TOTAL])
    assert not decoder.finished


@given(st.binary(max_size=40), st.integers(1, 300))
@example(b"\xff" * 40, 2)
def test_any_bytes_are_some_symbols(data, levels):
    ends = [TOTAL * i // levels for i in range(levels + 1)]
    decoder = Decoder(memoryview(data))
    assert all(0 <= decoder.decode(ends) < levels for _ in range(60))


@pytest.mark.parametrize("interval", [(0, 0), (5, 4), (-1, 3), (0, TOTAL + 1)], ids=str)
def test_what_is_no_interval_is_refused(interval):
    with pytest.raises(ValueError, match="expected 0 <= start < stop <= 16777216, got "):
        Encoder().encode(*interval)


def logits_of(name, levels):
    """Returns logits (4, levels), or (4, 1) for two levels, as multiples of 2^-14 between -256 and 256."""
    channels = 1 if levels == 2 else levels
    logits = {
        "uniform": torch.zeros(channels),
        "random": 2 * torch.randn(4, channels),
        "skewed": torch.linspace(0, 20, channels),
        "impossible": torch.tensor([256.0, *[-256.0] * (channels - 1)]),
    }
    return (logits[name].double() * 2**14).round().div(2**14).expand(4, channels)


NAMES = pytest.mark.parametrize("name", ["uniform", "random", "skewed", "impossible"])


@NAMES
@pytest.mark.parametrize("levels", [2, 3, 17, 256, MAX_LEVELS])
def test_probabilities_are_those_of_the_logits(name, levels):
    logits = logits_of(name, levels)
    ends = range_coder.cumulative(logits)
    both = torch.cat([torch.zeros(4, 1), logits], 1) if levels == 2 else logits
    assert ends.shape == (4, levels + 1) and ends.dtype == torch.int64
    for row, found in zip(both.tolist(), ends.tolist()):
        highest = max(row)
        weights = [math.floor(math.exp(logit - highest) * TOTAL + 0.5) for logit in row]
        sums = list(itertools.accumulate(weights, initial=0))
        assert found == [total * (TOTAL - levels) // sums[-1] + i for i, total in enumerate(sums)]
        assert found[0] == 0 and found[-1] == TOTAL
    parts, expected = ends.diff(), both.double().softmax(1) * (TOTAL - levels) + 1
    assert (parts >= 1).all()
    torch.testing.assert_close(parts.double(), expected, rtol=levels * 2.0**-PRECISION, atol=2.5)


@pytest.mark.parametrize(
    ("logits", "error", "sentence"),
    [
        (torch.zeros(3), TypeError, "expected logits of torch.float64, got torch.float32"),
        (torch.zeros(2, 0).double(), ValueError, "expected logits (..., levels) of 1 to 4096 levels, got shape (2, 0)"),
        (torch.zeros(4097).double(), ValueError, "got shape (4097,)"),
        (torch.tensor(0.0).double(), ValueError, "got shape ()"),
    ],
    ids=["float32", "no levels", "too many levels", "no dimension"],
)
def test_what_is_no_logits_is_refused(logits, error, sentence):
    with pytest.raises(error, match=re.escape(sentence)):
        range_coder.cumulative(logits)


@NAMES
@pytest.mark.parametrize("levels", [2, 256])
def test_the_size_is_the_information_of_the_symbols(name, levels):
    ends = range_coder.cumulative(logits_of(name, levels)[0])
    probabilities = ends.diff().double() / TOTAL
    symbols = torch.multinomial(probabilities, 20_000, replacement=True)
    size = len(range_coder.encode(ends[symbols] << 32 | ends[symbols + 1]))
    information = -float(probabilities[symbols].log2().sum()) / 8
    assert information - 1 <= size <= information * (1 + 1e-4) + 1
