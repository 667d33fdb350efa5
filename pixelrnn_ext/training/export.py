"""Adds the model of a training to the pretrained models of the package.

Run it as ``python -m pixelrnn_ext.training.export RUN NAME``. Writes the checkpoint NAME.safetensors without the
optimiser's state and without the paths of the machine, and adds the model to models.json. README.md, which describes
the models, is written by hand.
"""

import argparse
import base64
import copy
import hashlib
import json
import os
import re
import shlex
from pathlib import Path
from typing import Any

import torch

from ..models import AutoregressiveModel
from ..models.trained import FOLDER, TABLE
from . import checkpoint, drawing
from .data import DATA_SETS
from .distributed import World
from .evaluation import split_score
from .files import write_atomically
from .stored_data import check_same, load_again


def without_paths(fact: Any) -> Any:
    """Returns a fact of a checkpoint in which only the last part of an absolute path is left.

    Of a data set ``NAME:PATH`` the name is left, because another machine has the data set elsewhere.
    """
    if isinstance(fact, dict):
        return {key: without_paths(value) for key, value in fact.items()}
    if not isinstance(fact, str):
        return fact
    option, _, value = fact.partition("=")
    if value and option.startswith("--"):
        return f"{option}={without_paths(value)}"
    name, _, path = fact.partition(":")
    if name in DATA_SETS and os.path.isabs(path):
        return name
    return os.path.basename(fact) if os.path.isabs(fact) else fact


def own_samples(model: AutoregressiveModel, shape: tuple[int, int, int]) -> dict[str, Any]:
    """Returns four images that the model draws, as base64 of a file of the codec, and their mean score in float64.

    The score is the same to the last digit on every machine, so it shows that a file has the parameters of its export.
    """
    condition = drawing.cycled_classes(4, model.condition_channels)
    images, _ = drawing.draw(model, 4, shape, seed=0, condition=condition)
    file = base64.b64encode(model.compress(images, condition)).decode()
    return {"samples": file, "samples_score": score_of_samples(model, file)}


@torch.no_grad()
def score_of_samples(model: AutoregressiveModel, file: str) -> float:
    condition = drawing.cycled_classes(4, model.condition_channels)
    images = model.decompress(base64.b64decode(file), condition)
    exact = copy.deepcopy(model).double()
    nats = -exact.log_prob(images, None if condition is None else condition.double()).mean()
    return round(float(nats), 4)


def export(run: str | Path, name: str, folder: Path = FOLDER, *, force: bool = False) -> Path:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name):
        raise ValueError(f"expected a name of lower-case letters, digits, - and _, got {name!r}")
    path, table = folder / f"{name}.safetensors", folder / TABLE
    models = json.loads(table.read_text())
    if not force and (path.exists() or name in models):
        raise ValueError(f"expected a name that no model has, got {name!r} of {folder}: --force replaces it")
    model, facts = checkpoint.load_model(run)
    data, world = load_again(facts), World(0, 1, torch.device("cpu"))
    check_same(facts, data)
    scores = {split: round(split_score(model, data, split, world), 4) for split in ("validation", "test")}
    arguments = {key: value for key, value in facts["arguments"].items() if key not in ("out", "cache")}
    stored = without_paths(facts | {"arguments": arguments})
    if "command" in facts:
        stored["command"] = shlex.join(map(without_paths, shlex.split(facts["command"])))
    tensors = {f"model.{key}": tensor for key, tensor in model.state_dict().items()}
    checkpoint.save(path, tensors, stored)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    models[name] = {"sha256": digest, **scores, **own_samples(model, data.shape)}
    write_atomically(table, (json.dumps(models, indent=2, sort_keys=True) + "\n").encode())
    return path


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m pixelrnn_ext.training.export", description=__doc__)
    parser.add_argument("run", metavar="RUN", help="the folder of a training, or a checkpoint")
    parser.add_argument("name", metavar="NAME", help="name of the pretrained model")
    parser.add_argument("--force", action="store_true", help="replace a model of that name")
    options = parser.parse_args(argv)
    try:
        print(export(options.run, options.name, force=options.force))
    except (OSError, ValueError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
