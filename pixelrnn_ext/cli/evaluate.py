import json
import platform
import statistics
from argparse import ArgumentParser, Namespace

import torch

from .. import models
from ..operators.library import VERSION
from ..training import builder, checkpoint, data
from ..training.evaluation import accuracy, split_score
from .arguments import positive
from .inputs import Model, add_checkpoint, add_data, add_device, divided, load_data, load_model

SUMMARY = "score a model"
EXAMPLES = (
    "runs/digits",
    "runs/digits --split validation --json",
    "runs/digits/last.safetensors --data mnist --batch-size 64 --draws 20",
)


def add(parser: ArgumentParser) -> None:
    add_checkpoint(parser)
    add_data(parser, "what to score, by default the data of the training")
    parser.add_argument("--split", choices=data.SPLITS, default="test", help="%(default)s by default")
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
    model, facts = load_model(options)
    dataset = load_data(options, model, facts)
    if options.draws > 1 and not dataset.gray:
        raise ValueError(f"expected --draws with a data set that is binarised, got {dataset.description}")
    right = None
    if options.classify:
        right = accuracy(model, dataset, options.split, options.world, options.batch_size)
    scores: list[float] = []
    for number in range(options.draws):
        drawn = dataset.with_draw(number, options.split) if number else dataset
        scores.append(split_score(model, drawn, options.split, options.world, options.batch_size))
    if not options.world.is_first:
        return 0
    score, step = scores[0], facts["progress"]["step"]
    if options.json:
        result = dict(
            score=score,
            unit=dataset.unit,
            data=dataset.description,
            split=options.split,
            images=len(dataset.splits[options.split]),
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
        print(json.dumps(result, allow_nan=False))
    else:
        print(headline(options.split, score, dataset, model, step))
        if options.draws > 1:
            mean, deviation = statistics.mean(scores), statistics.stdev(scores)
            print(f"{options.draws} draws: mean {mean:.4f} {dataset.unit}, standard deviation {deviation:.4f}")
        if right is not None:
            print(f"{right:.2%} of the images are most likely under their own class")
    return 0


def headline(split: str, score: float, dataset: data.DataSet, model: Model, step: int) -> str:
    count = len(dataset.splits[split])
    kind = " ".join(filter(None, [getattr(model, "layer", None), type(model).__name__]))
    return f"{split}: {score:.4f} {dataset.unit}; {dataset.description}, {count} images; {kind}, step {step}"


def versions() -> dict[str, str]:
    return {"pixelrnn_ext": VERSION, "torch": torch.__version__, "Python": platform.python_version()}
