"""The codec: sizes beside the likelihood, PNG, WebP, JPEG XL and xz, and speed beside float32 sampling, in a process
like that of the command `pixelrnn`. `python benchmarks/bench_codec.py --help`"""

import argparse
import copy
import math
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.alone import as_the_command

if __name__ == "__main__":
    as_the_command()

import torch
from torch import Tensor

import pixelrnn_ext as px
from harness import image_codecs, range_coders
from harness.options import CHECK, VERDICT, parser
from harness.report import finish
from harness.requirements import Verdict, verdict_table
from pixelrnn_ext import cli, likelihood
from pixelrnn_ext._sentences import counted
from pixelrnn_ext.benchmark.tables import grid
from pixelrnn_ext.benchmark.timing import Times, paired, progress, timed
from pixelrnn_ext.cli.arguments import whole
from pixelrnn_ext.codec import Codec, container
from pixelrnn_ext.training import checkpoint, data, stored_data
from pixelrnn_ext.training.exact_images import pixels_of

COMPRESS, DECOMPRESS, DEFAULT = "compress", "decompress", "decompress, streams by default"
SAMPLE, PASS = "sampling", "a pass"
TIMED = COMPRESS, DECOMPRESS, SAMPLE
THREADS = 1, 2
BATCH = 32  # images whose logits are held at once
# Short trainings. The test digits resemble the training digits; the test photograph is a new one.
TRAININGS = {
    "digits-diagonal": "--data digits --model diagonal --steps 900 --learning-rate 0.003 --schedule cosine",
    "photos-row": "--data photos --model row --num-layers 3 --hidden-channels 32 --steps 250 --learning-rate 0.003",
}
# A file without HEAD bytes, and OF_STREAM bytes a stream, may be LARGER per cent above -log2 p.
LARGER, HEAD, OF_STREAM = 0.1, 27, 2
ROUNDED = 0.01  # per cent that the codec's rounding of the model may add to -log2 p
NOTES = """\
Every codec's images were compared before a number of it was kept. A MB is a million values, a byte each.
One file: of PNG, WebP and JPEG XL a mosaic of all images; xz packs bits. Times of the first table are of one run, of a
file each where there is one: ours on {threads} threads, others on one. Ratios of the second are medians over rounds
that time all in turn, with a stream for each thread but where it says that streams are those by default, of 8 KiB;
sampling, and a pass of log_prob, are in float32."""


@dataclass(frozen=True)
class Case:
    """A model and test images. ``told`` holds the condition of the images, if the model has one."""

    name: str
    data: str
    model: px.models.AutoregressiveModel
    images: Tensor
    told: tuple[Tensor, ...] = ()

    def part(self, first: int, count: int) -> tuple[Tensor, ...]:
        return tuple(t[first : first + count] for t in (self.images, *self.told))


@dataclass
class Size:
    """Bytes of all images: ``together`` in one file, ``each`` in a file for every image. ``seconds`` are the times to
    encode and to decode all images."""

    data: str
    codec: str
    values: int
    together: float
    seconds: tuple[float | None, float | None] = (None, None)
    each: int | None = None

    def line(self) -> list[str]:
        sizes = [f"{8 * size / self.values:.4f}" if size else "-" for size in (self.together, self.each)]
        speeds = [f"{self.values / 1e6 / seconds:.3g}" if seconds else "-" for seconds in self.seconds]
        return [self.data, self.codec, *sizes, f"{self.together:.0f}", *speeds]


def tiny_cases() -> list[Case]:
    torch.manual_seed(0)
    sizes = dict(hidden_channels=6, num_layers=1, head_channels=6)
    row = px.models.PixelRNN("row", image_channels=3, levels=256, **sizes)
    cnn = px.models.PixelCNN(image_channels=1, levels=2, condition_channels=3, **sizes)
    told = data.conditions(torch.arange(6) % 3, 3)
    return [
        Case("row", "colours", row, torch.randint(256, (6, 3, 4, 5))),
        Case("pixelcnn", "bits", cnn, torch.randint(2, (6, 1, 4, 5)), (told,)),
    ]


def trained_case(name: str, run: str, count: int | None) -> Case:
    model, facts = checkpoint.load_model(run)
    dataset = stored_data.load_again(facts)
    split = dataset.splits["test"]
    images, labels = split.images[:count], split.labels
    told = (data.conditions(labels[:count], len(dataset.classes)),) if model.condition_channels else ()
    return Case(name, f"{dataset.name}, {len(images)} images", model, images, told)


def cases(options: argparse.Namespace, folder: str) -> Iterator[Case]:
    if options.scope == CHECK:
        yield from tiny_cases()
        return
    for run in [*px.models.PRETRAINED, *options.checkpoint]:
        yield trained_case(Path(run).name, run, options.first)
    for name, arguments in TRAININGS.items() if options.train else ():
        out = str(Path(folder) / name)
        if cli.main(["train", *arguments.split(), "--samples", "0", "--out", out]):
            raise SystemExit(f"bench_codec.py: the training of {name} failed")
        yield trained_case(name, out, options.first)


@torch.no_grad()
def own_sizes(case: Case) -> tuple[list[Size], float, float]:
    """Returns the sizes of our file, of -log2 p and of range coders alone, and two excesses over -log2 p in per cent.

    The excesses are those of the file without HEAD and OF_STREAM bytes, and of ``Codec.bits``.
    """
    codec, values, told = Codec(case.model), case.images.numel(), case.told
    file, encoding = timed(lambda: codec.compress(case.images, *told))
    images, decoding = timed(lambda: codec.decompress(file, *told))
    if not torch.equal(images, case.images.long()):
        raise ValueError("other images come back")
    exact = copy.deepcopy(case.model).double()

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        for first in range(0, len(case.images), BATCH):
            images, *told = case.part(first, BATCH)
            yield images, exact(images, *(t.double() for t in told))

    ideal = -sum(likelihood.log_prob(logits, images).sum().item() for images, logits in batches()) / math.log(2) / 8
    coders = range_coders.ours(batches()), range_coders.constrictions(batches)
    sizes = [Size(case.data, case.name, values, len(file), (encoding, decoding))]
    sizes.append(Size(case.data, f"{case.name}, -log2 p", values, ideal))
    for name, coded in zip(("ours", "constriction's"), coders):
        if coded:
            sizes.append(Size(case.data, f"{case.name}, the range coder alone, {name}", values, *coded))
    streams = sum(len(group.streams) for group in container.read(file).groups)
    of_values = codec.bits(case.images, *told).sum().item() / 8
    return sizes, *(100 * (size / ideal - 1) for size in (len(file) - HEAD - OF_STREAM * streams, of_values))


def other_sizes(case: Case) -> list[Size]:
    pixels = [pixels_of(image, case.model.levels) for image in case.images]
    gray, values, sizes = pixels[0].ndim == 2, case.images.numel(), []
    whole = image_codecs.mosaic(pixels)
    for codec in image_codecs.available():
        files, encoding = timed(lambda codec=codec: [codec.encode(image) for image in pixels])
        back, decoding = timed(lambda codec=codec, files=files: [codec.decode(file, gray) for file in files])
        together = codec.encode(whole)
        if any((a != b).any() for a, b in zip([*back, codec.decode(together, gray)], [*pixels, whole])):
            raise ValueError(f"{codec.name} decodes other pixels")
        each = sum(map(len, files))
        sizes.append(Size(case.data, codec.name, values, len(together), (encoding, decoding), each))
    file, encoding = timed(lambda: image_codecs.xz(pixels))
    return [*sizes, Size(case.data, "xz", values, len(file), (encoding, None))]


@torch.no_grad()
def speeds(case: Case, options, threads: int) -> tuple[list[str], Times]:
    codec, (images, *told) = Codec(case.model), case.part(0, options.images)
    count, condition = len(images), told[0] if told else None
    torch.set_num_threads(threads)
    batch = dict(batch_size=count)
    file = codec.compress(images, *told, streams=threads, **batch)
    torch.set_num_threads(THREADS[-1] if threads == 1 else 1)
    if codec.compress(images, *told, streams=threads, **batch) != file:
        raise ValueError("another number of threads makes another file")
    torch.set_num_threads(threads)
    usual = codec.compress(images, *told, **batch)
    functions = {
        COMPRESS: lambda: codec.compress(images, *told, streams=threads, **batch),
        DECOMPRESS: lambda: codec.decompress(file, *told, **batch),
        DEFAULT: lambda: codec.decompress(usual, *told, **batch),
        SAMPLE: lambda: case.model.sample(count, tuple(images.shape[1:]), condition=condition),
        PASS: lambda: case.model.log_prob(images, *told),
    }
    check = options.scope == CHECK
    times = paired(functions, **(dict(seconds=0.0, fewest=2) if check else dict(seconds=2.0, limit=60)))
    seconds = {name: times.median(name) for name in times}
    line = [case.name, str(threads), *(f"{count / seconds[name]:.0f}" for name in TIMED)]
    line += [f"{images.numel() / 1e6 / seconds[name]:.3f}" for name in (COMPRESS, DECOMPRESS)]
    line += [f"{times.ratio(*names):.2f}" for names in ((DECOMPRESS, SAMPLE), (DEFAULT, SAMPLE), (COMPRESS, PASS))]
    return [*line, "" if check else times.doubt(*TIMED)], times


def verdicts(case: Case, larger: float, rounded: float, by_threads: dict[int, Times]) -> list[Verdict]:
    head = f"% above -log2 p, but for {HEAD} bytes and {OF_STREAM} a stream"
    found = [Verdict(case.name, head, LARGER, larger, at_most=True)]
    found.append(Verdict(case.name, "% above -log2 p, of the values alone", ROUNDED, rounded, at_most=True))
    for threads, times in by_threads.items():
        for name, other in ((DECOMPRESS, SAMPLE), (COMPRESS, PASS)):
            if name == DECOMPRESS or isinstance(case.model, px.models.PixelCNN):
                what = f"{name} over {other}, {counted(threads, 'thread')}"
                found.append(Verdict(case.name, what, 2, times.ratio(name, other), True, times.doubt(*TIMED)))
    return found


def parse(argv: list[str]) -> argparse.Namespace:
    made = parser(__doc__, nargs="+", default=list(THREADS), help="default: 1 2")
    what = "another model, on the data of its training"
    made.add_argument("--checkpoint", action="append", default=[], metavar="RUN", help=what)
    made.add_argument("--train", action="store_true", help="train on digits and on photos, too: some minutes")
    made.add_argument("--images", type=whole(1), default=64, metavar="N", help="that are timed (%(default)s)")
    made.add_argument("--first", type=whole(1), metavar="N", help="images of a test split; all by default")
    return made.parse_args(argv)


def main(argv: list[str]) -> int:
    options, before = parse(argv), torch.get_num_threads()
    sizes, lines, mismatches, required, seen = [], [], [], [], set()
    with tempfile.TemporaryDirectory() as folder:
        for case in cases(options, folder):
            times = {}
            try:
                with progress(case.name):
                    torch.set_num_threads(max(options.threads))
                    own, larger, rounded = own_sizes(case)
                    others = [] if case.data in seen else other_sizes(case)
                    for threads in options.threads:
                        line, times[threads] = speeds(case, options, threads)
                        lines.append(line)
            except ValueError as error:
                mismatches.append(f"MISMATCH {case.name}: {error}")
                continue
            finally:
                torch.set_num_threads(before)
            seen.add(case.data)
            sizes += [*own, *others]
            required += verdicts(case, larger, rounded, times)

    tables, notes = [], [NOTES.format(threads=max(options.threads))]
    header = ["images", "codec", "bits/value, one file", "a file each", "bytes, one file", "encode MB/s", "decode MB/s"]
    if sizes:
        sizes.sort(key=lambda size: size.data)
        tables.append(grid(header, [size.line() for size in sizes], markdown=False))
    header = ["model", "threads", *(f"{name} images/s" for name in TIMED)]
    header += [f"{name} MB/s" for name in (COMPRESS, DECOMPRESS)]
    header += [*(f"{name} over {SAMPLE}" for name in (DECOMPRESS, DEFAULT)), f"{COMPRESS} over {PASS}", "unreliable"]
    if lines:
        tables.append(grid(header, lines, markdown=False, drop_empty=True))
    if options.scope == VERDICT:
        tables.append(verdict_table(required, "any processor"))
    for name, there in (("JPEG XL", image_codecs.JPEG_XL), ("constriction", range_coders.CONSTRICTION)):
        if not there:
            notes.append(f"skipped, not installed (pip install '.[bench]'): {name}")
    return finish(__file__, argv, options.threads, tables, notes, mismatches, [line[-1] for line in lines])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
