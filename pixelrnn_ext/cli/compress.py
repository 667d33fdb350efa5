import copy
import math
import os
from argparse import ArgumentParser, BooleanOptionalAction, Namespace
from pathlib import Path

import torch
from torch import Tensor

from .._sentences import counted
from ..codec import Codec, container
from ..training.files import write_atomically
from ..training.images import MAX_PIXELS
from ..training.progress import bar, rows_bar
from . import coding
from .arguments import non_empty, positive
from .inputs import Model, divided, load_model
from .outputs import add_out, check_file, say

SUMMARY = "compress images without loss"
EXAMPLES = (
    "mnist5k-diagonal mnist5k:test --out digits.prnn",
    "runs/pictures photographs/ more/one.png --out photographs.prnn --no-verify",
)

# The command compares the file's size with the size that the likelihood predicts. It prints a difference of up to 5 %
# in percent, and a larger difference in bytes.
NEAR = 0.05
PIXELS_PER_PASS = 2**18  # limits the memory of one forward pass


def add(parser: ArgumentParser) -> None:
    coding.add_options(parser, "; a split in IMAGES has its labels")
    sources = "picture files, folders of them, sorted by name, or a split of a data set, such as mnist5k:test"
    parser.add_argument("images", type=non_empty, metavar="IMAGES", nargs="+", help=sources)
    add_out(parser, "file", "-o", metavar="FILE", help="the output; -: standard output")
    parser.add_argument(
        "--streams",
        type=positive,
        metavar="N",
        help="parts per group of images for threads to decode; by default of 8 KiB",
    )
    parser.add_argument(
        "--verify", action=BooleanOptionalAction, default=True, help="decode and compare before writing (the default)"
    )
    parser.add_argument(
        "--max-pixels", type=positive, default=MAX_PIXELS, metavar="N", help="larger pictures are refused (%(default)s)"
    )


@divided
def run(options: Namespace, command: str, argv: list[str]) -> int:
    """Compresses images to one file, from which decompress restores the same pixels.

    A better model makes a smaller file. Keep the CHECKPOINT as long as the file: no other model can read the file, not
    even one from another step of the same training. The file keeps the pixels of a picture, rotated as its EXIF data
    says, but no name, colour profile or other metadata. Refuses a picture whose pixels would change.
    """
    check_file(options.out)
    model, facts = load_model(options)
    world = options.world
    codec = Codec(model, map=world.map)
    groups = world.first_then_others(lambda: coding.read(options.images, model, facts, options.max_pixels))
    world.check_same("images", lambda: container.checksum(group.images for group in groups))
    images, counts = [group.images for group in groups], [len(group) for group in groups]
    conditions = coding.conditions(options.labels, coding.labels_of(groups), counts, model, facts)
    with rows_bar("encoding") as progress:
        data = codec.compress(
            images,
            conditions,
            streams=options.streams,
            batch_size=options.batch_size,
            progress=world.scaled(progress),
        )
    if options.verify:
        _verify(codec, data, images, conditions, options)
    bits = _likelihood(model, images, conditions, options)
    if not world.is_first:
        return 0
    write_atomically(options.out, data)
    values = sum(group.numel() for group in images)
    line = f"{counted(sum(counts), 'image')}, {counted(len(data), 'byte')}, {8 * len(data) / values:.4f} bits/dim"
    if bits is not None:
        line += f", {_versus_likelihood(len(data), bits / 8)}"
    say(f"{line}, {_versus_input(len(data), options.images, values, model.levels)}", options.out)
    return 0


def _versus_input(size: int, names: list[str], values: int, levels: int) -> str:
    """Compares the compressed size with that of the picture files, or of a data set's pixels as packed bits."""
    files = [path for name in names if os.path.lexists(name) for path in coding.files_of(Path(name))]
    if all(map(os.path.lexists, names)) and all(path.is_file() for path in files):
        before, what = sum(path.stat().st_size for path in files), counted(len(files), "file")
    else:
        before, what = -(-values * (levels - 1).bit_length() // 8), "pixels as packed bits"
    note = ": the file is larger than its input" if size > before else ""
    return f"{100 * size / before:.1f} % of {counted(before, 'byte')} of {what}{note}"


def _versus_likelihood(size: int, expected: float) -> str:
    more = size - expected
    near = abs(more) <= NEAR * expected
    difference = f"{100 * abs(more) / expected:.2f} %" if near else counted(round(abs(more)), "byte")
    return f"{difference} {'above' if more >= 0 else 'below'} the likelihood"


def _verify(
    codec: Codec, data: bytes, images: list[Tensor], conditions: coding.OneHot | None, options: Namespace
) -> None:
    with rows_bar("decoding") as progress:
        groups = codec.iterate_groups(
            data,
            conditions,
            max_bytes=2**63 - 1,
            batch_size=options.batch_size,
            progress=options.world.scaled(progress),
        )
        # All groups are decoded, because other processes take part.
        are_same = [
            all(torch.equal(image.long(), other) for image, other in zip(group, decoded, strict=True))
            for group, decoded in zip(images, groups, strict=True)
        ]
    if not all(are_same):
        raise RuntimeError("expected to decode the same images, got others: nothing was written")


@torch.no_grad()
def _likelihood(
    model: Model, images: list[Tensor], conditions: coding.OneHot | None, options: Namespace
) -> float | None:
    """Returns -log2 of the probability of all images, or None if one has more than PIXELS_PER_PASS pixels."""
    sizes = [math.prod(group.shape[2:]) for group in images]
    if max(sizes) > PIXELS_PER_PASS:
        return None
    model = copy.deepcopy(model).double()
    batches = [
        (number, batch)
        for number, (group, size) in enumerate(zip(images, sizes))
        for batch in torch.arange(len(group)).split(min(options.batch_size, PIXELS_PER_PASS // size))
    ]

    def nats(batch: tuple[int, Tensor]) -> float:
        number, index = batch
        condition = None if conditions is None else conditions.select(number, index).double()
        return -float(model.log_prob(images[number][index], condition).sum())

    total = 0.0
    with bar("images", sum(map(len, images)), "likelihood") as shown:
        for (_, index), found in zip(batches, options.world.map(nats, batches), strict=True):
            total += found
            shown.update(len(index))
    return total / math.log(2)
