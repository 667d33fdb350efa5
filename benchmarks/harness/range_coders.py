"""Runs our range coder, and that of the library constriction, without the network."""

from collections.abc import Callable, Iterable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from pixelrnn_ext.benchmark.timing import timed
from pixelrnn_ext.incremental import range_coder
from pixelrnn_ext.incremental.grid import PROFILES
from pixelrnn_ext.operators import columns

try:
    from constriction import stream as CONSTRICTION
except ImportError:
    CONSTRICTION = None

Batches = Iterable[tuple[Tensor, Tensor]]
Coded = tuple[int, tuple[float, float | None]]  # bytes, (seconds to encode, seconds to decode or None)


def ours(batches: Batches) -> Coded:
    """Does not time decoding, which needs the network's output after each value."""
    intervals = []
    for values, logits in batches:
        ends, symbols = range_coder.cumulative(PROFILES[0].quantized(_flat_logits(logits))), values.flatten().long()
        start, stop = (ends.gather(1, symbols[:, None] + i)[:, 0] for i in (0, 1))
        intervals.append(start << 32 | stop)
    stacked = torch.cat(intervals)
    encode = columns.range_encode if columns.why_not_on(torch.device("cpu")) is None else range_coder.encode
    stream, seconds = timed(lambda: encode(stacked))
    return len(stream), (seconds, None)


def constrictions(batches: Callable[[], Batches]) -> Coded | None:
    if CONSTRICTION is None:
        return None
    encoder, encoding, decoding = CONSTRICTION.queue.RangeEncoder(), 0.0, 0.0
    family = CONSTRICTION.model.Categorical(perfect=False)
    for values, logits in batches():
        symbols, probabilities = values.flatten().int().numpy(), _flat_logits(logits).softmax(-1).numpy()
        encoding += timed(partial(encoder.encode, symbols, family, probabilities))[1]
    words = encoder.get_compressed()
    decoder = CONSTRICTION.queue.RangeDecoder(words)
    for values, logits in batches():
        probabilities = _flat_logits(logits).softmax(-1).numpy()
        decoded, seconds = timed(partial(decoder.decode, family, probabilities))
        decoding += seconds
        if (decoded != values.flatten().numpy()).any():
            raise ValueError("constriction decodes other values")
    return words.nbytes, (encoding, decoding)


def _flat_logits(logits: Tensor) -> Tensor:
    """Reshapes logits to (values, levels). A model of two levels gives only the logit of level 1."""
    logits = logits.movedim(1, -1).flatten(0, -2)
    return F.pad(logits, (1, 0)) if logits.shape[-1] == 1 else logits
