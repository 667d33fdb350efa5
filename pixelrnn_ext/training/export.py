"""Adds the model of a training to the pretrained models of the package.

Run it as ``python -m pixelrnn_ext.training.export RUN NAME``. Writes the checkpoint NAME.safetensors without the
optimiser's state, and adds the model to models.json. README.md, which describes the models, is written by hand.
"""

import argparse
import hashlib
import json
import re
from pathlib import Path

import torch

from ..models.trained import FOLDER, TABLE
from . import checkpoint
from .distributed import World
from .evaluation import split_score
from .files import write_atomically
from .stored_data import check_same, load_again


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
    arguments = {key: value for key, value in facts["arguments"].items() if key != "out"}
    tensors = {f"model.{key}": tensor for key, tensor in model.state_dict().items()}
    checkpoint.save(path, tensors, facts | {"arguments": arguments})
    models[name] = {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), **scores}
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
