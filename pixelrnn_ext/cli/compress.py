"""``pixelrnn compress``."""

import copy
import math
from argparse import ArgumentParser, BooleanOptionalAction, Namespace

import torch
from torch import Tensor

from .. import models
from .._sentences import counted
from ..codec import Codec
from ..training.files import write_atomically
from ..training.images import MAX_PIXELS
from ..training.progress import bar, rows_bar
from . import coding
from .arguments import named, whole
from .inputs import load_model
from .outputs import add_out, check_file, say

SUMMARY = "make images a file, without loss"
EXAMPLES = (
    "mnist5k-diagonal mnist5k:test --out digits.prnn",
    "runs/pictures photographs/ more/one.png --out photographs.prnn --no-verify",
)

NEAR = 0.05  # largest relative difference from the likelihood that is shown in percent
PIXELS = 2**18  # most pixels in one forward pass, whose feature maps take memory


def add(parser: ArgumentParser) -> None:
    coding.add_options(parser, "; a split has its labels without")
    parser.add_argument(
        "images",
        type=named,
        metavar="IMAGES",
        nargs="+",
        help="picture files, folders of them, sorted by name, or a split of a data set, such as mnist5k:test",
    )
    add_out(parser, "file", "-o", metavar="FILE", help="what is written")
    parser.add_argument(
        "--streams",
        type=whole(1),
        metavar="N",
        help="parts that threads decode at once, of images of one size; some 8 KiB each by default",
    )
    parser.add_argument(
        "--verify",
        action=BooleanOptionalAction,
        default=True,
        help="decode and compare, before anything is written (the default)",
    )
    parser.add_argument(
        "--max-pixels",
        type=whole(1),
        default=MAX_PIXELS,
        metavar="COUNT",
        help="larger pictures are refused (%(default)s)",
    )


def run(options: Namespace, command: str, argv: list[str]) -> int:
    """Makes images a file, the smaller the better the model predicts them, of which decompress makes the same pixels.

    The file needs its CHECKPOINT for ever: without it, or after another step of its training, nothing can read it.
    Of a picture the pixels are kept as they are shown, turned as EXIF says; its name, colour profile and other
    metadata are not. What cannot be kept without loss is refused.
    """
    check_file(options.out)
    model, facts = load_model(options)
    codec = Codec(model)
    groups = coding.read(options.images, model, facts, options.max_pixels)
    images, counts = [group.images for group in groups], [len(group) for group in groups]
    conditions = coding.conditions(options.labels, coding.labels_of(groups), counts, model, facts)
    with rows_bar("encoding") as progress:
        data = codec.compress(
            images, conditions, streams=options.streams, batch_size=options.batch_size, progress=progress
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
    """Says how much larger or smaller a file is than its likelihood promises. Both sizes are in bytes."""
    more = size - expected
    near = abs(more) <= NEAR * expected
    said = f"{100 * abs(more) / expected:.2f} %" if near else counted(round(abs(more)), "byte")
    return f"{said} {'above' if more >= 0 else 'below'} the likelihood"


def _verify(codec: Codec, data: bytes, images: list[Tensor], conditions: list[Tensor] | None, batch_size: int) -> None:
    with rows_bar("decoding") as progress:
        decoded = codec.decompress_groups(
            data, conditions, max_bytes=2**63 - 1, batch_size=batch_size, progress=progress
        )
    if not all(map(torch.equal, (group.long() for group in images), decoded)):
        raise RuntimeError("expected the same images from what was made of them, got others: nothing was written")


@torch.no_grad()
def _likelihood(
    model: models.AutoregressiveModel, images: list[Tensor], conditions: list[Tensor] | None, batch_size: int
) -> float | None:
    """Returns -log2 of the images' probability, in float64, or None if an image has more than PIXELS pixels."""
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
