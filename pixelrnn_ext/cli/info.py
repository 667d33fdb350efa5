import argparse
import math
from pathlib import Path
from typing import Any

import torch

from .. import machine, models
from .._sentences import reason
from ..codec import Codec, container
from ..models import trained
from ..operators import library
from ..training import checkpoint
from ..training.builder import count_parameters
from ..training.data import score_of, unit_of
from ..training.journal import LOG, read
from ..training.output import CURVE
from .inputs import add_threads

SUMMARY = "what was compiled in (the default), what a training did, or what a compressed file has"
EXAMPLES = ("", "runs/digits", "runs/digits/last.safetensors", "digits.prnn")


def run(options: argparse.Namespace, command: str, argv: list[str]) -> int:
    """Describes a training, or a file that compress wrote.

    Without an argument, prints what a bug report needs: versions, machine, compiled features.
    """
    if path := getattr(options, "checkpoint", None):
        facts = _file_facts(Path(path)) if _is_compressed(Path(path)) else _training_facts(path)
    else:
        library.multiplies_bfloat16()  # asks Linux for AMX, so that the answer is printed
        version, *others = library.build_config().items()
        facts = dict([version, *machine.facts().items(), *others])
    width = max(map(len, facts)) + 1
    for key, value in facts.items():
        print(f"{key + ':':<{width}} {_readable(value)}")
    return 0


def add(parser: argparse.ArgumentParser) -> None:
    sources = "the folder of a training, a checkpoint, a pretrained model, or a file that compress wrote"
    parser.add_argument("checkpoint", metavar="RUN", nargs="?", help=sources)
    add_threads(parser)


def _is_compressed(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(container.MAGIC)) == container.MAGIC


def _file_facts(path: Path) -> dict[str, object]:
    content = container.read(path.read_bytes())
    sizes: dict[str, int] = {}
    for group in content.groups:
        size = f"{group.height}x{group.width}"
        sizes[size] = sizes.get(size, 0) + group.images
    return {
        "file": f"{path} ({in_bytes(path.stat().st_size)})",
        "format": f"{container.VERSION}, profile {content.profile}",
        "fingerprint": f"{content.fingerprint.hex()} of the model that decodes it",
        "images": ", ".join(f"{count} of {size}" for size, count in sizes.items()) or "none",
        "streams": sum(len(group.streams) for group in content.groups),
    }


def _readable(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "-"
    return str(value)


def _training_facts(path: str) -> dict[str, object]:
    file = checkpoint.resolve(path, without_score=True)
    tensors, facts = checkpoint.load(file)
    model = models.from_config(facts["model"])
    checkpoint.load_scored(model, tensors, file)
    folder, data, progress = file.parent, facts["data"], facts["progress"]
    step, validation, unit = str(progress["step"]), None, unit_of(model.levels)
    if math.isfinite(progress["best"]):
        step += f", the best on validation {progress['best_step']}"
        validation = f"{score_of(progress['best'], model.levels, data['shape']):.4f} {unit}"
    test = _test_score(file, progress["step"])
    files = [folder / name for name in (checkpoint.BEST, checkpoint.LAST) if (folder / name).exists()]
    log, curve = folder / LOG, folder / CURVE
    return {
        "model": f"{type(model).__name__}({model.extra_repr()})",
        "parameters": parameters_in_words(model),
        "fingerprint": _fingerprint(model),
        "data": f"{data.get('description', '?')}; {'x'.join(map(str, data['shape']))}",
        "validation": validation,
        "test": None if test is None else f"{test:.4f} {unit}",
        "step": step,
        "training": _progress_in_words(folder),
        "compiled": bool(facts.get("compiled")),
        "command": facts.get("command"),
        "options": _options(facts),
        "versions": f"pixelrnn_ext {facts.get('version', 'unknown')}",
        "checkpoints": ", ".join(f"{path} ({in_bytes(path.stat().st_size)})" for path in dict.fromkeys([*files, file])),
        "log": log if log.exists() else None,
        "learning curve": curve if curve.exists() else None,
    }


def _fingerprint(model: models.AutoregressiveModel) -> str:
    """Returns the fingerprint of the files that the model decodes, or why it cannot compress images."""
    try:
        return Codec(model).fingerprint.hex()
    except (TypeError, ValueError, RuntimeError) as error:
        return f"none: {reason(error)}"


def parameters_in_words(model: torch.nn.Module) -> str:
    return f"{count_parameters(model)} ({in_bytes(sum(parameter.nbytes for parameter in model.parameters()))})"


def in_bytes(size: float) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.{0 if unit == 'bytes' else 1}f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def _test_score(file: Path, step: int) -> float | None:
    if file.parent == trained.FOLDER:
        return models.PRETRAINED[file.stem]["test"]
    entries = [entry for entry in read(file.parent) if entry["event"] == "test" and entry.get("best_step") == step]
    return entries[-1]["score"] if entries else None


def _progress_in_words(folder: Path) -> str | None:
    last = folder / checkpoint.LAST
    if not last.exists():
        return None
    _, facts = checkpoint.load(last)
    step, length = facts["progress"]["step"], facts.get("length")
    done = f"step {step}"  # older checkpoints do not store the total number of steps
    if length:
        epoch, epochs = (count / length["steps_per_epoch"] for count in (step, length["steps"]))
        done = f"epoch {epoch:.4g} of {epochs:.4g}, step {step} of {length['steps']}"
    last_event = "test" if facts.get("arguments", {}).get("test", True) else "validation"
    is_last_step = not length or step == length["steps"]
    finished = is_last_step and any((entry["event"], entry["step"]) == (last_event, step) for entry in read(folder))
    return f"{done}, {'finished' if finished else 'unfinished'}"


def _options(facts: dict[str, Any]) -> str:
    return ", ".join(
        f"{name.replace('_', '-')} {'x'.join(map(str, value)) if isinstance(value, list) else value}"
        for name, value in (facts.get("arguments") or facts.get("settings", {})).items()
        if value is not None and value is not False
    )
