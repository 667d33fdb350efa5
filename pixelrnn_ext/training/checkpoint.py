"""Checkpoints: one safetensors file with the tensors, and in its metadata all that is needed to rebuild the model.

Names: ``model.*`` the parameters, ``average.*`` their moving average if one is kept, ``optimiser.<parameter>.<state>``.
Metadata ``pixelrnn_ext``: JSON of the model's configuration, the data set, the settings, and where training stands.
"""

import json
import zlib
from pathlib import Path

import torch
from torch import Tensor, nn

from .. import models
from .files import write_atomically
from .optional import need

KEY = "pixelrnn_ext"
NEEDED = {"model": set(), "data": {"shape", "classes"}, "progress": {"step", "evaluated", "best", "best_step"}}
LAST, BEST = "last.safetensors", "best.safetensors"


def _checksum(tensors):
    checksum = 0
    for name in sorted(tensors):
        # flatten: a view as bytes needs one dimension or more.
        checksum = zlib.crc32(tensors[name].flatten().view(torch.uint8).numpy(), checksum)
    return checksum


def _is_whole(facts):
    """Whether the facts are those that this package writes and reads."""
    return (
        isinstance(facts, dict)
        and "checksum" in facts
        and all(isinstance(facts.get(key), dict) and names <= facts[key].keys() for key, names in NEEDED.items())
        and isinstance(facts.get("arguments", {}), dict)
    )


def save(path: Path, tensors: dict[str, Tensor], facts: dict) -> None:
    """Writes a checkpoint; the one that was there is replaced when the new one is whole.

    Raises:
        OSError: the file cannot be written, for a full disk too; the old one is kept.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    metadata = {KEY: json.dumps(facts | {"checksum": _checksum(tensors)})}
    write_atomically(path, need("safetensors.torch").save(tensors, metadata))


def load(path: Path) -> tuple[dict[str, Tensor], dict]:
    """The tensors and the facts of a checkpoint.

    Raises:
        OSError: it cannot be read. ValueError: it is damaged, truncated or not a checkpoint of this package.
    """
    safetensors = need("safetensors")
    with open(path, "rb"):  # its error names the file; safetensors' need not
        pass
    try:
        with safetensors.safe_open(path, "pt") as file:
            facts = json.loads((file.metadata() or {}).get(KEY, "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()} if facts else {}
    except (safetensors.SafetensorError, ValueError) as error:
        raise ValueError(f"{path} is damaged or not a safetensors file: {error}") from error
    if not _is_whole(facts):
        raise ValueError(f"expected a checkpoint of pixelrnn_ext, got another safetensors file: {path}")
    if _checksum(tensors) != facts["checksum"]:
        raise ValueError(f"{path} is damaged: its tensors do not have the checksum that was written with them")
    return tensors, facts


def part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with ``prefix`` and a dot, without it."""
    return {
        name.removeprefix(f"{prefix}."): tensor for name, tensor in tensors.items() if name.startswith(f"{prefix}.")
    }


def fill(module: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Loads parameters. ValueError, naming the file, where they are not the module's."""
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        why = " ".join(str(error).split())
        raise ValueError(f"the tensors of {path} do not fit the model that it describes: {why}") from error


def resolve(path: str | Path) -> Path:
    """A checkpoint's file: of a training's folder the best one."""
    return Path(path) / BEST if Path(path).is_dir() else Path(path)


def load_model(path: str | Path, device: torch.device | str = "cpu") -> tuple[models.AutoregressiveModel, dict]:
    """The trained model, with averaged parameters where there are any, and the facts of its checkpoint.

    Args:
        path: a checkpoint, or the folder of a training, whose best checkpoint it is then.

    Raises:
        OSError, ValueError: as :func:`load`.

    Example:
        >>> model, facts = load_model("runs/mnist5k")  # doctest: +SKIP
        >>> model.sample(16, facts["data"]["shape"])  # doctest: +SKIP
    """
    path = resolve(path)
    tensors, facts = load(path)
    model = models.from_config(facts["model"])
    fill(model, part(tensors, "average") or part(tensors, "model"), path)
    return model.to(device).eval(), facts
