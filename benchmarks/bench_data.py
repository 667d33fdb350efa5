"""Trains on a store of synthetic images, 64x64 RGB, and on images in memory. Measures memory, start and speed. With
--files N, also lists a folder of N small files."""

import multiprocessing
import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import count
from pathlib import Path

import torch

import pixelrnn_ext as px
from harness.options import CHECK, VERDICT, make_parser
from harness.report import finish
from harness.requirements import Verdict, verdict_table
from pixelrnn_ext.benchmark.tables import grid
from pixelrnn_ext.benchmark.timing import Times, paired, timed
from pixelrnn_ext.cli.arguments import non_negative
from pixelrnn_ext.training import data, folder, store
from pixelrnn_ext.training.builder import build
from pixelrnn_ext.training.distributed import World
from pixelrnn_ext.training.loop import Training
from pixelrnn_ext.training.settings import Settings

SHAPE = 3, 64, 64
IMAGE_BYTES = 3 * 64 * 64
STEPS = 50  # of a training that measures memory
MAPPED, IN_MEMORY = "a store", "in memory"
# Requirements: the MiB that a store may add to a training, the seconds to the first step, the seconds to list 200,000
# files, and the least share of the speed of images in memory.
MOST_MIB, MOST_SECONDS, MOST_LISTING, LEAST_SPEED = 10**9 / 2**20, 10, 15, 0.95


def synthetic(cache: Path, images: int) -> torch.Tensor:
    """Returns the images of a store, which is made if it is missing. Every 4096 images are the same up to a shift."""

    def convert(add: store.Add) -> dict:
        block = torch.randint(256, (min(4096, images), *SHAPE), dtype=torch.uint8)
        for start in range(0, images, len(block)):
            add("images", block[: images - start].roll(start, -1))
        return {}

    prepare = lambda: (images * IMAGE_BYTES, convert)  # noqa: E731
    return store.find_or_make(cache, ["synthetic", images], prepare).tensors["images"]


def training_on(images: torch.Tensor, out: Path) -> Training:
    few = data.Split(images[:16])
    dataset = data.DataSet("synthetic", "synthetic", 256, {"train": data.Split(images), "validation": few, "test": few})
    torch.manual_seed(0)
    model = build("row", dataset, hidden_channels=8, num_layers=1, head_channels=8)
    return Training(model, dataset, Settings(batch_size=16), World(0, 1, torch.device("cpu")), out)


def unmapped_memory() -> float:
    """Returns the resident memory of this process in MiB, without pages of mapped files."""
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    return sum(int(line[1]) for line in lines if line[0] in ("RssAnon:", "RssShmem:")) / 2**10


def train(cache: Path, images: int, steps: int, threads: int, started: float) -> tuple[float, float]:
    """Returns the seconds from ``started`` to the end of the first step, and the most MiB after a step."""
    torch.set_num_threads(threads)
    px.keep_freed_memory()
    pixels = synthetic(cache, images) if images else torch.randint(256, (16, *SHAPE), dtype=torch.uint8)
    training, most, first = training_on(pixels, cache), 0.0, None
    for step in range(steps):
        training._step(step)
        first = first or time.time() - started
        most = max(most, unmapped_memory())
    return first or 0.0, most


def in_a_child(cache: Path, images: int, steps: int, threads: int) -> tuple[float, float]:
    for file in cache.glob("stores/*/images"):  # the first step reads the disk
        with file.open("rb") as opened:
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as fresh:
        return fresh.submit(train, cache, images, steps, threads, time.time()).result()


def speeds(cache: Path, images: int, check: bool) -> Times:
    mapped = synthetic(cache, images)
    trainings = {MAPPED: training_on(mapped, cache), IN_MEMORY: training_on(mapped.clone(), cache)}
    numbers = {name: count() for name in trainings}
    run = {name: (lambda name=name: trainings[name]._step(next(numbers[name]))) for name in trainings}
    batches = {f"{name}, batches alone": (lambda name=name: pick(trainings[name], next(numbers[name]))) for name in run}
    return paired(run | batches, **({"seconds": 0.1, "fewest": 2} if check else {"seconds": 30}))


def pick(training: Training, step: int) -> torch.Tensor:
    return training.data.splits["train"].images[training.order[step]]


def listing(place: Path, files: int) -> dict[str, float]:
    """Returns the seconds to list a folder: the first time, from its index, and after a file was added."""
    pictures, cache = place / "pictures", place / "cache"
    for number in range(files):
        if number % 1000 == 0:
            (pictures / f"{number // 1000:03}").mkdir(parents=True)
        (pictures / f"{number // 1000:03}" / f"{number:06}.png").write_bytes(b"a picture")
    time.sleep(folder.SETTLED + 0.1)
    seconds = {}
    for name in ("first", "again", "changed"):
        if name == "changed":
            (pictures / "000" / "new.png").write_bytes(b"a picture")
        (names, _), seconds[name] = timed(lambda: folder.list_names(pictures, cache))
        assert len(names) == files + (name == "changed")
    paths = [pictures / file for file in names]
    seconds["size and time of every file"] = timed(lambda: store.stamps(paths))[1]
    return seconds


def main(argv: list[str]) -> int:
    parser = make_parser(__doc__, default=torch.get_num_threads(), help="default: %(default)s")
    parser.add_argument("--gb", type=float, default=2, help="the size of the store (default: %(default)s)")
    parser.add_argument("--files", type=non_negative, default=0, metavar="N", help="list a folder of N files, too")
    parser.add_argument("--no-speed", action="store_true", help="leave out the speed, which needs the images in memory")
    options = parser.parse_args(argv)
    check = options.scope == CHECK
    images, steps = (64, 2) if check else (round(options.gb * 1e9 / IMAGE_BYTES), STEPS)
    torch.set_num_threads(options.threads)
    px.keep_freed_memory()
    case, doubt, tables, verdicts = f"{images * IMAGE_BYTES / 1e9:.1f} GB", "", [], []
    with tempfile.TemporaryDirectory() as place:
        cache = Path(place) / "cache"
        made = timed(lambda: synthetic(cache, images))[1]
        _, alone = in_a_child(cache, 0, steps, options.threads)
        first, most = in_a_child(cache, images, steps, options.threads)
        rows = [["seconds to make the store", f"{made:.1f}"], ["seconds to the first step", f"{first:.1f}"]]
        rows += [["MiB of 16 images in memory", f"{alone:.0f}"], ["MiB of the store", f"{most:.0f}"]]
        tables.append(grid([f"a store of {case}", ""], rows, markdown=False))
        verdicts.append(Verdict(case, "seconds to the first step", MOST_SECONDS, first, at_most=True))
        verdicts.append(Verdict(case, "MiB that the store adds", MOST_MIB, most - alone, at_most=True))
        if not options.no_speed:
            times = speeds(cache, images, check)
            doubt = "" if check else times.doubt(*times)
            lines = [[name, f"{16 / times.median(name):.0f}"] for name in times]
            tables.append(grid([f"images/s, {case}", ""], lines, markdown=False))
            verdicts.append(Verdict(case, "speed over images in memory", LEAST_SPEED, times.ratio(IN_MEMORY, MAPPED)))
        if options.files:
            seconds = listing(Path(place), options.files)
            lines = [[name, f"{taken:.2f}"] for name, taken in seconds.items()]
            tables.append(grid([f"seconds to list {options.files} files", ""], lines, markdown=False))
            name = f"{options.files} files"
            verdicts.append(Verdict(name, "seconds of the first list", MOST_LISTING, seconds["first"], at_most=True))
    if options.scope == VERDICT:
        tables.append(verdict_table(verdicts, "any processor"))
    notes = [
        "Memory is RssAnon + RssShmem of /proc/self/status, the most after a step, in a process of its own.",
        "The first step counts from the start of the process, with the store out of the page cache.",
    ]
    return finish(__file__, argv, [options.threads], tables, notes, [], [doubt])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
