import csv
import io
import json
import platform
import statistics
from argparse import ArgumentParser, Namespace
from itertools import chain

import torch

from .. import models
from ..operators.library import VERSION
from ..training import builder, checkpoint, data
from ..training.evaluation import accuracy, image_nats, mean
from ..training.files import write_atomically
from .arguments import positive
from .inputs import Model, add_checkpoint, add_data, add_device, divided, load_data, load_model
from .outputs import add_out, check_file, say

SUMMARY = "score a model"
EXAMPLES = (
    "runs/digits",
    "runs/digits --split validation --json",
    "runs/digits/last.safetensors --data mnist --batch-size 64 --draws 20",
    "runs/pictures --data folder:others --split all --per-image scores.csv",
)
ALL = "all"  # the images of all splits


def add(parser: ArgumentParser) -> None:
    add_checkpoint(parser)
    add_data(parser, "what to score, by default the data of the training")
    parser.add_argument("--split", choices=(*data.SPLITS, ALL), default="test", help="%(default)s by default")
    table = "also write the score of each image, with its name or number; -: standard output"
    add_out(parser, "file", flag="--per-image", metavar="FILE.csv", help=table, required=False)
    draws = "mnist, mnist5k: also the mean score of N draws of the binary images; the first one is the fixed one"
    parser.add_argument("--draws", type=positive, metavar="N", default=1, help=draws)
    classify = "a model of classes: also the share of images that are most likely under their own class"
    parser.add_argument("--classify", action="store_true", help=classify)
    parser.add_argument("--batch-size", type=positive, default=16, help="images at once (%(default)s)")
    add_device(parser)
    parser.add_argument("--json", action="store_true", help="one object for programs, instead of a line")


@divided
def run(options: Namespace, command: str, argv: list[str]) -> int:
    """Prints the likelihood that a model gives to the images of a split."""
    if options.out:
        check_file(options.out, options.out_flag)
    model, facts = load_model(options)
    dataset = load_data(options, model, facts)
    if options.draws > 1 and not dataset.gray:
        raise ValueError(f"expected --draws with a data set that is binarised, got {dataset.description}")
    splits = [split for split in data.SPLITS if options.split in (split, ALL)]
    counts = [len(dataset.splits[split]) for split in splits]
    right = None
    if options.classify:
        of_splits = [accuracy(model, dataset, split, options.world, options.batch_size) for split in splits]
        right = sum(share * count for share, count in zip(of_splits, counts)) / sum(counts)
    draws: list[list[list[float]]] = []  # nats of each image, by draw and split
    for number in range(options.draws):
        found = []
        for split in splits:
            drawn = dataset.with_draw(number, split) if number else dataset
            found.append(image_nats(model, drawn, split, options.world, batch_size=options.batch_size))
        draws.append(found)
    if not options.world.is_first:
        return 0
    scores = [dataset.score(mean([*chain(*found)])) for found in draws]
    score, step = scores[0], facts["progress"]["step"]
    if options.out:
        write_atomically(options.out, _table(dataset, dict(zip(splits, draws[0]))).encode(errors="surrogateescape"))
    if options.json:
        result = dict(
            score=score,
            unit=dataset.unit,
            data=dataset.description,
            split=options.split,
            images=sum(counts),
            model=models.to_config(model),
            parameters=builder.count_parameters(model),
            step=step,
            notes=dataset.notes,
            checkpoint=str(checkpoint.resolve(options.checkpoint)),
            versions=versions(),
        )
        if options.draws > 1:
            result |= dict(draws=scores)
        if right is not None:
            result |= dict(accuracy=right)
        lines = [json.dumps(result, allow_nan=False)]
    else:
        lines = [headline(options.split, score, dataset, sum(counts), model, step)]
        if options.draws > 1:
            average, deviation = statistics.mean(scores), statistics.stdev(scores)
            shown = f"mean {average:.4f} {dataset.unit}, standard deviation {deviation:.4f}"
            lines.append(f"{options.draws} draws: {shown}")
        if right is not None:
            lines.append(f"{right:.2%} of the images are most likely under their own class")
    for line in lines:
        say(line, options.out)
    return 0


def _table(dataset: data.DataSet, nats: dict[str, list[float]]) -> str:
    """Returns the CSV table of the images' scores. ``nats`` has the numbers of each split."""
    written = io.StringIO()
    table = csv.writer(written, lineterminator="\n")
    table.writerow(["split", "image", *(["class"] if dataset.classes else []), dataset.unit])
    for split, found in nats.items():
        part = dataset.splits[split]
        names = range(len(part)) if part.names is None else part.names
        for number, (name, score) in enumerate(zip(names, found, strict=True)):
            label = [] if part.labels is None else [dataset.classes[part.labels[number]]]
            table.writerow([split, name, *label, f"{dataset.score(score):.4f}"])
    return written.getvalue()


def headline(split: str, score: float, dataset: data.DataSet, count: int, model: Model, step: int) -> str:
    kind = " ".join(filter(None, [getattr(model, "layer", None), type(model).__name__]))
    return f"{split}: {score:.4f} {dataset.unit}; {dataset.description}, {count} images; {kind}, step {step}"


def versions() -> dict[str, str]:
    return {"pixelrnn_ext": VERSION, "torch": torch.__version__, "Python": platform.python_version()}
