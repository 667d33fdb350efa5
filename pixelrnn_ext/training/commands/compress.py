"""What ``pixelrnn compress`` does."""

import copy
import math
from argparse import Namespace

import torch
from torch import Tensor

from ... import models
from ..._sentences import counted
from ...codec import Codec
from ..files import write_atomically
from ..progress import bar, follow
from . import coding
from .inputs import check_file, load_model, say

NEAR = 0.05  # of the likelihood: a file that is farther from it is hardly more than its head
PIXELS = 2**18  # of images whose likelihood is computed at once: a pass keeps maps of them


def compress(options: Namespace) -> int:
    """A file of images, and how its size compares with their likelihood."""
    check_file(options.out)
    model, facts = load_model(options)
    codec = Codec(model)
    groups = coding.read(options.images, model, facts, options.max_pixels)
    images, counts = [group.images for group in groups], [len(group) for group in groups]
    known = [group.labels for group in groups if group.labels is not None]
    labels = torch.cat(known) if len(known) == len(groups) else None
    conditions = coding.conditions(options.labels, labels, counts, model, facts)
    with bar("rows", what="encoding") as shown:
        data = codec.compress(
            images, conditions, streams=options.streams, batch_size=options.batch_size, progress=follow(shown)
        )
    if options.verify:
        _verify(codec, data, images, conditions, options.batch_size)
    bits = _likelihood(model, images, conditions, options.batch_size)
    write_atomically(options.out, data)
    values = sum(group.numel() for group in images)
    line = f"{counted(sum(counts), 'image')}, {counted(len(data), 'byte')}, {8 * len(data) / values:.4f} bits/dim"
    say(line if bits is None else f"{line}, {_beside_likelihood(len(data), bits / 8)}", options.out)
    return 0


def _beside_likelihood(size: int, expected: float) -> str:
    """How much larger or smaller a file is than expected, both in bytes."""
    more = size - expected
    near = abs(more) <= NEAR * expected
    said = f"{100 * abs(more) / expected:.2f} %" if near else counted(round(abs(more)), "byte")
    return f"{said} {'above' if more >= 0 else 'below'} the likelihood"


def _verify(codec: Codec, data: bytes, images: list[Tensor], conditions: list[Tensor] | None, batch_size: int) -> None:
    with bar("rows", what="decoding") as shown:
        # What the images are known to take is no bound for who made them.
        decoded = codec.decompress_groups(
            data, conditions, max_bytes=2**63 - 1, batch_size=batch_size, progress=follow(shown)
        )
    if not all(map(torch.equal, (group.long() for group in images), decoded)):
        raise RuntimeError("expected the same images from what was made of them, got others: nothing was written")


@torch.no_grad()
def _likelihood(
    model: models.AutoregressiveModel, images: list[Tensor], conditions: list[Tensor] | None, batch_size: int
) -> float | None:
    """-log2 of the images' probability, in float64; None where one of them is too large for a pass."""
    sizes = [math.prod(group.shape[2:]) for group in images]
    if max(sizes) > PIXELS:
        return None
    model, nats = copy.deepcopy(model).double(), 0.0
    with bar("images", sum(map(len, images)), "likelihood") as shown:
        for number, (group, size) in enumerate(zip(images, sizes)):
            for batch in torch.arange(len(group)).split(min(batch_size, PIXELS // size)):
                told = None if conditions is None else conditions[number][batch].double()
                nats -= float(model.log_prob(group[batch], told).sum())
                shown.update(len(batch))
    return nats / math.log(2)
