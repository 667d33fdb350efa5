"""Compares the size of our codec's files with the ideal size by the model's likelihood, and with PNG, WebP, JPEG XL and
xz. Compares the codec's speed with the model's speed of sampling in float32."""

import argparse
import copy
import math
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from harness.alone import configure_like_command

if __name__ == "__main__":
    configure_like_command()

import torch
from torch import Tensor

import pixelrnn_ext as px
from harness import image_codecs, range_coders
from harness.options import CHECK, VERDICT, make_parser
from harness.report import finish
from harness.requirements import Verdict, verdict_table
from pixelrnn_ext import cli, likelihood
from pixelrnn_ext._sentences import counted
from pixelrnn_ext.benchmark.tables import grid
from pixelrnn_ext.benchmark.timing import Times, paired, progress, timed
from pixelrnn_ext.codec import Codec, container
from pixelrnn_ext.training import checkpoint, data, stored_data
from pixelrnn_ext.training.exact_images import pixels_of

COMPRESS, DECOMPRESS, DEFAULT = "compress", "decompress", "decompress, streams by default"
SAMPLE, PASS = "sampling", "a pass"
TIMED = COMPRESS, DECOMPRESS, SAMPLE
THREADS = 1, 2
BATCH = 32  # limits the memory for logits
TIMED_IMAGES = 64
TRAININGS = {
    "digits-diagonal": "--data digits --model diagonal --steps 900 --learning-rate 0.003 --schedule cosine",
    "photos-row": "--data photos --model row --num-layers 3 --hidden-channels 32 --steps 250 --learning-rate 0.003",
}
# The size of our file may exceed the ideal size, which is -log2 of the model's probability, by MAX_EXCESS per cent.
# HEADER_BYTES are allowed in addition, and STREAM_BYTES for each stream, which is a separately coded part of the file.
MAX_EXCESS, HEADER_BYTES, STREAM_BYTES = 0.1, 27, 2
# Rounding the model's probabilities may cost this percentage of the ideal size.
MAX_ROUNDING = 0.01
NOTES = """\
Only codecs that return the same images have numbers. A MB is a million values of a byte. In one file, PNG, WebP and
JPEG XL have a mosaic of all images; xz packs bits. Times of the first table are of one run, with a file for each image
if there are such files: ours on {threads} threads, others on one. Ratios of the second are medians over rounds that
time all in turn. Files have a stream for each thread, or the default streams of 8 KiB. Sampling, and a pass of
log_prob, are in float32."""


@dataclass(frozen=True)
class Case:
    """A model and its test images."""

    name: str
    data: str
    model: px.models.AutoregressiveModel
    images: Tensor
    conditions: tuple[Tensor, ...] = ()

    def select(self, first: int, count: int) -> tuple[Tensor, ...]:
        return tuple(t[first : first + count] for t in (self.images, *self.conditions))


@dataclass
class Size:
    """The size and speed of one codec for all images of a data set.

    ``one_file`` is the number of bytes of a single file with all images. ``separate_files`` is the number of bytes of
    all files if each image has its own file. ``seconds`` are the times to encode and to decode.
    """

    data: str
    codec: str
    values: int
    one_file: float
    seconds: tuple[float | None, float | None] = (None, None)
    separate_files: int | None = None

    def row(self) -> list[str]:
        sizes = [f"{8 * size / self.values:.4f}" if size else "-" for size in (self.one_file, self.separate_files)]
        speeds = [f"{self.values / 1e6 / seconds:.3g}" if seconds else "-" for seconds in self.seconds]
        return [self.data, self.codec, *sizes, f"{self.one_file:.0f}", *speeds]


def tiny_cases() -> list[Case]:
    torch.manual_seed(0)
    sizes = dict(hidden_channels=6, num_layers=1, head_channels=6)
    row = px.models.PixelRNN("row", image_channels=3, levels=256, **sizes)
    cnn = px.models.PixelCNN(image_channels=1, levels=2, condition_channels=3, **sizes)
    conditions = data.conditions(torch.arange(6) % 3, 3)
    return [
        Case("row", "colours", row, torch.randint(256, (6, 3, 4, 5))),
        Case("pixelcnn", "bits", cnn, torch.randint(2, (6, 1, 4, 5)), (conditions,)),
    ]


def trained_case(name: str, run: str) -> Case:
    model, facts = checkpoint.load_model(run)
    dataset = stored_data.load_again(facts)
    split = dataset.splits["test"]
    conditions = (data.conditions(split.labels, len(dataset.classes)),) if model.condition_channels else ()
    return Case(name, f"{dataset.name}, {len(split.images)} images", model, split.images, conditions)


def cases(options: argparse.Namespace, folder: str) -> Iterator[Case]:
    if options.scope == CHECK:
        yield from tiny_cases()
        return
    for run in [*px.models.PRETRAINED, *options.checkpoint]:
        yield trained_case(Path(run).name, run)
    for name, arguments in TRAININGS.items() if options.train else ():
        out = str(Path(folder) / name)
        if cli.main(["train", *arguments.split(), "--samples", "0", "--out", out]):
            raise SystemExit(f"bench_codec.py: the training of {name} failed")
        yield trained_case(name, out)


@torch.no_grad()
def measure_our_codec(case: Case) -> tuple[list[Size], float, float]:
    """Returns our codec's sizes, and by how many per cent our file and ``Codec.bits`` exceed the ideal size.

    The file's excess leaves out HEADER_BYTES and STREAM_BYTES.
    """
    codec, values, conditions = Codec(case.model), case.images.numel(), case.conditions
    file, encoding = timed(lambda: codec.compress(case.images, *conditions))
    images, decoding = timed(lambda: codec.decompress(file, *conditions))
    if not torch.equal(images, case.images.long()):
        raise ValueError("other images come back")
    exact = copy.deepcopy(case.model).double()

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        for first in range(0, len(case.images), BATCH):
            images, *conditions = case.select(first, BATCH)
            yield images, exact(images, *(t.double() for t in conditions))

    ideal = -sum(likelihood.log_prob(logits, images).sum().item() for images, logits in batches()) / math.log(2) / 8
    coders = range_coders.ours(batches()), range_coders.constrictions(batches)
    found = {"": (len(file), (encoding, decoding)), ", -log2 p": (ideal,)}
    found |= {f", the range coder alone, {name}": coded for name, coded in zip(("ours", "constriction's"), coders)}
    sizes = [Size(case.data, case.name + what, values, *figures) for what, figures in found.items() if figures]
    streams = sum(len(group.streams) for group in container.read(file).groups)
    value_bytes = codec.bits(case.images, *conditions).sum().item() / 8
    payload = len(file) - HEADER_BYTES - STREAM_BYTES * streams
    return sizes, *(100 * (size / ideal - 1) for size in (payload, value_bytes))


def measure_other_codecs(case: Case) -> list[Size]:
    pixels = [pixels_of(image, case.model.levels) for image in case.images]
    gray, values, sizes = pixels[0].ndim == 2, case.images.numel(), []
    mosaic = image_codecs.mosaic(pixels)
    for codec in image_codecs.available():
        files, encoding = timed(lambda codec=codec: [codec.encode(image) for image in pixels])
        back, decoding = timed(lambda codec=codec, files=files: [codec.decode(file, gray) for file in files])
        one_file = codec.encode(mosaic)
        if any((a != b).any() for a, b in zip([*back, codec.decode(one_file, gray)], [*pixels, mosaic])):
            raise ValueError(f"{codec.name} decodes other pixels")
        separate_files = sum(map(len, files))
        sizes.append(Size(case.data, codec.name, values, len(one_file), (encoding, decoding), separate_files))
    file, encoding = timed(lambda: image_codecs.xz(pixels))
    return [*sizes, Size(case.data, "xz", values, len(file), (encoding, None))]


@torch.no_grad()
def speeds(case: Case, options, threads: int) -> tuple[list[str], Times]:
    codec, (images, *conditions) = Codec(case.model), case.select(0, TIMED_IMAGES)
    count, condition = len(images), conditions[0] if conditions else None
    torch.set_num_threads(threads)
    compress = partial(codec.compress, images, *conditions, batch_size=count)
    decompress = partial(codec.decompress, batch_size=count)
    file = compress(streams=threads)
    torch.set_num_threads(THREADS[-1] if threads == 1 else 1)
    if compress(streams=threads) != file:
        raise ValueError("another number of threads makes another file")
    torch.set_num_threads(threads)
    default = compress()
    functions = {
        COMPRESS: lambda: compress(streams=threads),
        DECOMPRESS: lambda: decompress(file, *conditions),
        DEFAULT: lambda: decompress(default, *conditions),
        SAMPLE: lambda: case.model.sample(count, tuple(images.shape[1:]), condition=condition),
        PASS: lambda: case.model.log_prob(images, *conditions),
    }
    check = options.scope == CHECK
    times = paired(functions, **(dict(seconds=0.0, fewest=2) if check else dict(seconds=2.0, limit=60)))
    seconds = {name: times.median(name) for name in times}
    line = [case.name, str(threads), *(f"{count / seconds[name]:.0f}" for name in TIMED)]
    line += [f"{images.numel() / 1e6 / seconds[name]:.3f}" for name in (COMPRESS, DECOMPRESS)]
    line += [f"{times.ratio(*names):.2f}" for names in ((DECOMPRESS, SAMPLE), (DEFAULT, SAMPLE), (COMPRESS, PASS))]
    return [*line, "" if check else times.doubt(*TIMED)], times


def verdicts(case: Case, excess: float, rounding: float, by_threads: dict[int, Times]) -> list[Verdict]:
    quantity = f"% above -log2 p, but for {HEADER_BYTES} bytes and {STREAM_BYTES} a stream"
    found = [Verdict(case.name, quantity, MAX_EXCESS, excess, at_most=True)]
    found.append(Verdict(case.name, "% above -log2 p, of the values alone", MAX_ROUNDING, rounding, at_most=True))
    for threads, times in by_threads.items():
        for name, other in ((DECOMPRESS, SAMPLE), (COMPRESS, PASS)):
            if name == DECOMPRESS or isinstance(case.model, px.models.PixelCNN):
                quantity = f"{name} over {other}, {counted(threads, 'thread')}"
                found.append(Verdict(case.name, quantity, 2, times.ratio(name, other), True, times.doubt(*TIMED)))
    return found


def parse(argv: list[str]) -> argparse.Namespace:
    parser = make_parser(__doc__, nargs="+", default=list(THREADS), help="default: 1 2")
    parser.add_argument("--checkpoint", action="append", default=[], metavar="RUN", help="add a trained model")
    parser.add_argument("--train", action="store_true", help="add models trained on digits and photos: some minutes")
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    options, threads_before = parse(argv), torch.get_num_threads()
    sizes, lines, mismatches, required, seen_data = [], [], [], [], set()
    with tempfile.TemporaryDirectory() as folder:
        for case in cases(options, folder):
            times = {}
            try:
                with progress(case.name):
                    torch.set_num_threads(max(options.threads))
                    ours, excess, rounding = measure_our_codec(case)
                    others = [] if case.data in seen_data else measure_other_codecs(case)
                    for threads in options.threads:
                        line, times[threads] = speeds(case, options, threads)
                        lines.append(line)
            except ValueError as error:
                mismatches.append(f"MISMATCH {case.name}: {error}")
                continue
            finally:
                torch.set_num_threads(threads_before)
            seen_data.add(case.data)
            sizes += [*ours, *others]
            required += verdicts(case, excess, rounding, times)

    tables, notes = [], [NOTES.format(threads=max(options.threads))]
    header = ["images", "codec", "bits/value, one file", "a file each", "bytes, one file", "encode MB/s", "decode MB/s"]
    if sizes:
        sizes.sort(key=lambda size: size.data)
        tables.append(grid(header, [size.row() for size in sizes], markdown=False))
    header = ["model", "threads", *(f"{name} images/s" for name in TIMED)]
    header += [f"{name} MB/s" for name in (COMPRESS, DECOMPRESS)]
    header += [*(f"{name} over {SAMPLE}" for name in (DECOMPRESS, DEFAULT)), f"{COMPRESS} over {PASS}", "unreliable"]
    if lines:
        tables.append(grid(header, lines, markdown=False, drop_empty=True))
    if options.scope == VERDICT:
        tables.append(verdict_table(required, "any processor"))
    for name, installed in (("JPEG XL", image_codecs.JPEG_XL), ("constriction", range_coders.CONSTRICTION)):
        if not installed:
            notes.append(f"skipped, not installed (pip install '.[bench]'): {name}")
    return finish(__file__, argv, options.threads, tables, notes, mismatches, [line[-1] for line in lines])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
