"""What a training did, read from its checkpoint and its log."""

import math
from pathlib import Path
from typing import Any

import torch

from .. import models
from ..models import trained
from . import checkpoint
from .builder import count_parameters
from .curve import CURVE
from .data import score_of, unit_of
from .journal import LOG, read


def of_run(path: str | Path) -> dict[str, object]:
    """The facts of a training by name, for a person.

    Args:
        path: the folder of a training, a checkpoint, or the name of a pretrained model.

    Raises:
        OSError, ValueError: as checkpoint.load and checkpoint.resolve.
    """
    file = checkpoint.resolve(path, without_score=True)
    _, facts = checkpoint.load(file)
    with torch.device("meta"):
        model = models.from_config(facts["model"])
    folder, data, progress = file.parent, facts["data"], facts["progress"]
    has_score = math.isfinite(progress["best"])
    there = [folder / name for name in (checkpoint.BEST, checkpoint.LAST) if (folder / name).exists()]
    return {
        "model": f"{type(model).__name__}({model.extra_repr()})",
        "parameters": parameters_in_words(model),
        "data": f"{data.get('description', '?')}; {'x'.join(map(str, data['shape']))}",
        **_scores(file, progress, model.levels, data["shape"]),
        "step": str(progress["step"]) + f", the best on validation {progress['best_step']}" * has_score,
        "training": _how_far(folder),
        "command": facts.get("command"),
        "options": _options(facts),
        "versions": f"pixelrnn_ext {facts.get('version', 'unknown')}",
        "checkpoints": ", ".join(f"{each} ({in_bytes(each.stat().st_size)})" for each in dict.fromkeys([*there, file])),
        "log": _if_there(folder / LOG),
        "learning curve": _if_there(folder / CURVE),
    }


def parameters_in_words(model: torch.nn.Module) -> str:
    """How many, and how much memory they take."""
    size = sum(parameter.nbytes for parameter in model.parameters())
    return f"{count_parameters(model)} ({in_bytes(size)})"


def in_bytes(size: float) -> str:
    """Example: 2048 is "2.0 KiB"."""
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.{0 if unit == 'bytes' else 1}f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def _scores(file: Path, progress: dict[str, Any], levels: int, shape: list[int]) -> dict[str, object]:
    """On validation by the checkpoint; of the best one on the test split by the log, or the table of the pretrained."""
    found: dict[str, object] = {"validation": None}
    if math.isfinite(progress["best"]):
        found["validation"] = f"{score_of(progress['best'], levels, shape):.4f} {unit_of(levels)}"
    if file.parent == trained.FOLDER:
        tests = [models.PRETRAINED[file.stem]["test"]]
    else:
        entries = [entry for entry in read(file.parent) if entry["event"] == "test"]
        tests = [entry["score"] for entry in entries if entry.get("best_step") == progress["step"]]
    found["test"] = f"{tests[-1]:.4f} {unit_of(levels)}" if tests else None
    return found


def _how_far(folder: Path) -> str | None:
    """What of a training is done, by its last checkpoint; by the log, whose end is the test score, whether that is
    all."""
    last = folder / checkpoint.LAST
    if not last.exists():
        return None
    _, facts = checkpoint.load(last)
    step, length = facts["progress"]["step"], facts.get("length")
    done = f"step {step}"  # older checkpoints do not say of how many
    if length:
        epoch, epochs = (count / length["steps_per_epoch"] for count in (step, length["steps"]))
        done = f"epoch {epoch:.4g} of {epochs:.4g}, step {step} of {length['steps']}"
    finished = any((entry["event"], entry["step"]) == ("test", step) for entry in read(folder))
    return f"{done}, {'finished' if finished else 'unfinished'}"


def _options(facts: dict[str, Any]) -> str:
    """The settings of a training by name, but for what is off."""
    options = facts.get("arguments") or facts.get("settings", {})
    return ", ".join(
        f"{name.replace('_', '-')} {'x'.join(map(str, value)) if isinstance(value, list) else value}"
        for name, value in options.items()
        if value is not None and value is not False
    )


def _if_there(path: Path) -> Path | None:
    return path if path.exists() else None
