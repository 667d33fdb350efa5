"""Describes a training for a person, from its checkpoint and its log."""

import math
from pathlib import Path
from typing import Any

import torch

from .. import models
from ..models import trained
from . import checkpoint
from .builder import count_parameters
from .data import score_of, unit_of
from .journal import LOG, read
from .output import CURVE


def of_run(path: str | Path) -> dict[str, object]:
    """Returns the facts of a training by name. Errors as in checkpoint.load and checkpoint.resolve.

    Args:
        path: the folder of a training, a checkpoint, or the name of a pretrained model.
    """
    file = checkpoint.resolve(path, without_score=True)
    _, facts = checkpoint.load(file)
    with torch.device("meta"):
        model = models.from_config(facts["model"])
    folder, data, progress = file.parent, facts["data"], facts["progress"]
    best_step = f", the best on validation {progress['best_step']}" if math.isfinite(progress["best"]) else ""
    beside = [folder / name for name in (checkpoint.BEST, checkpoint.LAST) if (folder / name).exists()]
    log, curve = folder / LOG, folder / CURVE
    return {
        "model": f"{type(model).__name__}({model.extra_repr()})",
        "parameters": parameters_in_words(model),
        "data": f"{data.get('description', '?')}; {'x'.join(map(str, data['shape']))}",
        **_scores(file, progress, model.levels, data["shape"]),
        "step": f"{progress['step']}{best_step}",
        "training": _how_far(folder),
        "command": facts.get("command"),
        "options": _options(facts),
        "versions": f"pixelrnn_ext {facts.get('version', 'unknown')}",
        "checkpoints": ", ".join(
            f"{path} ({in_bytes(path.stat().st_size)})" for path in dict.fromkeys([*beside, file])
        ),
        "log": log if log.exists() else None,
        "learning curve": curve if curve.exists() else None,
    }


def parameters_in_words(model: torch.nn.Module) -> str:
    """Returns the number of parameters and their memory."""
    size = sum(parameter.nbytes for parameter in model.parameters())
    return f"{count_parameters(model)} ({in_bytes(size)})"


def in_bytes(size: float) -> str:
    """Returns a size in words, for example "2.0 KiB" for 2048."""
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.{0 if unit == 'bytes' else 1}f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def _scores(file: Path, progress: dict[str, Any], levels: int, shape: list[int]) -> dict[str, object]:
    """Returns the validation score of the checkpoint, and the test score of the log or of the pretrained models."""
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
    """Returns how far a training is by its last checkpoint, and whether its log ends with a test score."""
    last = folder / checkpoint.LAST
    if not last.exists():
        return None
    _, facts = checkpoint.load(last)
    step, length = facts["progress"]["step"], facts.get("length")
    done = f"step {step}"  # older checkpoints do not have the length
    if length:
        epoch, epochs = (count / length["steps_per_epoch"] for count in (step, length["steps"]))
        done = f"epoch {epoch:.4g} of {epochs:.4g}, step {step} of {length['steps']}"
    finished = any((entry["event"], entry["step"]) == ("test", step) for entry in read(folder))
    return f"{done}, {'finished' if finished else 'unfinished'}"


def _options(facts: dict[str, Any]) -> str:
    """Returns the options of a training in words, without options that are off."""
    options = facts.get("arguments") or facts.get("settings", {})
    return ", ".join(
        f"{name.replace('_', '-')} {'x'.join(map(str, value)) if isinstance(value, list) else value}"
        for name, value in options.items()
        if value is not None and value is not False
    )
