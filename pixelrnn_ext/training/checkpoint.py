"""Reads and writes checkpoints, which are safetensors files with the state of a training.

The tensors are called ``model.*`` for parameters, ``average.*`` for their moving average, and
``optimiser.<number>.<state>``. The metadata has three entries. ``pixelrnn_ext`` is the *facts* as JSON: the model's
configuration, the data set, the settings and the progress. ``pixelrnn_ext.format`` is the version of the format.
``pixelrnn_ext.sha256`` is a digest of the facts and the tensors.
"""

import hashlib
import json
import os
import textwrap
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .. import models
from .._dynamo import never_compiled
from ..models import trained
from .files import write_atomically
from .optional import need

KEY = "pixelrnn_ext"
FORMAT_KEY, DIGEST_KEY = f"{KEY}.format", f"{KEY}.sha256"
FORMAT = "2"
Facts = dict[str, Any]
_Tensors = dict[str, Tensor]
LAST, BEST = "last.safetensors", "best.safetensors"


def _is_integer(value: Any, least: int) -> bool:
    return type(value) is int and least <= value < 2**63


def _is_shape(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(_is_integer(side, 1) for side in value)


def _is_list_of_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


_STEPS = "an integer in [0, 2**63)", lambda value: _is_integer(value, 0)
# Facts that every checkpoint must store. Maps (group, name) to a description of valid values, and their check.
FACTS: dict[tuple[str, str], tuple[str, Callable[[Any], bool]]] = {
    ("data", "shape"): ("three integers >= 1", _is_shape),
    ("data", "classes"): ("a list of names", _is_list_of_names),
    ("progress", "step"): _STEPS,
    ("progress", "evaluated"): _STEPS,
    ("progress", "best_step"): _STEPS,
    ("progress", "best"): ("a number", lambda value: type(value) in (int, float) and value == value),
}


def _bytes(tensor: Tensor) -> memoryview:
    # flatten() gives a scalar one dimension, because torch cannot view a scalar as bytes.
    return tensor.flatten().view(torch.uint8).numpy().data


def _checksum(tensors: _Tensors) -> int:
    """Returns the checksum of the first checkpoint format."""
    checksum = 0
    for name in sorted(tensors):
        checksum = zlib.crc32(_bytes(tensors[name]), checksum)
    return checksum


def digest_of(facts: str, tensors: _Tensors) -> str:
    """Returns a hash of a text, and of the names, dtypes, shapes and bytes of tensors on the CPU."""
    digest = hashlib.sha256(f"{FORMAT}\n{facts}\n".encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(json.dumps([name, str(tensor.dtype), *tensor.shape]).encode())
        digest.update(_bytes(tensor))
    return digest.hexdigest()


def _check(facts: Any, path: Path) -> None:
    groups = facts | {"arguments": facts.get("arguments", {})} if isinstance(facts, dict) else {}
    complete = all(isinstance(groups.get(group), dict) for group in ("model", "data", "progress", "arguments"))
    if not complete or not all(name in facts[group] for group, name in FACTS):
        raise ValueError(f"expected a checkpoint of pixelrnn_ext, got another safetensors file: {path}")
    for (group, name), (expected, fits) in FACTS.items():
        if not fits(got := facts[group][name]):
            raise ValueError(f"expected {group}.{name} to be {expected}, got {_short(got)} in {path}")
    step, evaluated, best = (facts["progress"][name] for name in ("step", "evaluated", "best_step"))
    if not best <= evaluated <= step:
        got = f"{best}, {evaluated} and {step}"
        raise ValueError(f"expected progress.best_step <= evaluated <= step, got {got} in {path}")


def _check_sizes(facts: Facts, tensors: _Tensors, path: Path) -> None:
    """Raises ValueError for an integer with which a damaged file would ask for a huge model."""
    for name, value in _integers(facts):
        # A model has at most as many layers as tensors, because every layer has at least one tensor.
        maximum = len(tensors) if name == "num_layers" else 2**63 - 1
        if abs(value) > maximum:
            raise ValueError(f"expected {name} to be at most {maximum} in {path}, got {_short(value)}")


def _integers(facts: object, name: str = "") -> Iterator[tuple[str, int]]:
    if isinstance(facts, (dict, list)):
        for key, value in facts.items() if isinstance(facts, dict) else ((name, value) for value in facts):
            yield from _integers(value, key)
    elif isinstance(facts, int):
        yield name, facts


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def save(path: Path, tensors: _Tensors, facts: Facts) -> None:
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(facts)
    metadata = {KEY: text, FORMAT_KEY: FORMAT, DIGEST_KEY: digest_of(text, tensors)}
    write_atomically(path, need("safetensors.torch").save(tensors, metadata))


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Returns the tensors of a checkpoint, and its facts, such as its settings and progress.

    Warns if the checkpoint has the first format, whose checksum covers only the tensors.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is damaged or truncated, has a newer format, or is not a checkpoint of this package.
    """
    safetensors = need("safetensors")
    # open() names a missing file in its error. safe_open() does not always do so.
    with open(path, "rb"):
        pass
    try:
        with safetensors.safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            text = metadata.get(KEY, "null")
            facts = json.loads(text)
            tensors = {name: file.get_tensor(name) for name in file.keys()} if facts else {}
    except (safetensors.SafetensorError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged or not a safetensors file: {error}") from error
    except OSError as error:
        raise OSError(f"{path} cannot be read: {error}") from error
    if FORMAT_KEY in metadata:
        if metadata[FORMAT_KEY] != FORMAT:
            got = f"{_short(metadata[FORMAT_KEY])}: it is damaged, or of a newer pixelrnn_ext"
            raise ValueError(f"expected a checkpoint of format {FORMAT} or before in {path}, got {got}")
        if metadata.get(DIGEST_KEY) != digest_of(text, tensors):
            raise ValueError(f"{path} is damaged: its content does not have the checksum that was written with it")
        _check(facts, path)
    else:
        _check(facts, path)
        if "checksum" not in facts:
            raise ValueError(f"expected a checkpoint of pixelrnn_ext, got another safetensors file: {path}")
        if _checksum(tensors) != facts.pop("checksum"):
            raise ValueError(f"{path} is damaged: its tensors do not have the checksum that was written with them")
        unchecked = "whose checksum covers tensors alone: its facts (settings, step) are unchecked"
        # ``stacklevel=1`` ascribes the warning to this line, whichever code loads the checkpoint. So Python warns only
        # once for each checkpoint.
        warnings.warn(f"{path} is of the first format, {unchecked}", stacklevel=1)
    _check_sizes(facts, tensors, path)
    return tensors, facts


def is_checkpoint(path: Path) -> bool:
    return KEY in _metadata(path)


def facts_of(path: Path) -> Facts:
    """Returns the facts of a checkpoint, without checking its tensors or its digest.

    Raises ValueError if the facts are missing or invalid.
    """
    facts: Facts = json.loads(str(_metadata(path).get(KEY, "null")))
    _check(facts, path)
    return facts


def _metadata(path: Path) -> dict[str, Any]:
    try:
        if not path.is_file():  # a pipe can be read only once
            return {}
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > path.stat().st_size:
                return {}
            metadata = json.loads(file.read(length))["__metadata__"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}
    return metadata if isinstance(metadata, dict) else {}


def tensors_of(tensors: _Tensors, prefix: str) -> _Tensors:
    start = f"{prefix}."
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}


def load_into(module: nn.Module, tensors: _Tensors, path: Path) -> None:
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        # The message is shortened, because torch lists every tensor that does not fit.
        why = textwrap.shorten(str(error), 300, placeholder=" ...")
        raise ValueError(f"the tensors of {path} do not fit the model that it describes: {why}") from error


def load_scored(model: nn.Module, tensors: _Tensors, path: Path) -> None:
    """Loads the parameters that a training scores: their moving average, if the checkpoint at ``path`` has one."""
    load_into(model, tensors_of(tensors, "average") or tensors_of(tensors, "model"), path)


def resolve(path: str | Path, *, without_score: bool = False) -> Path:
    """Returns the path of the checkpoint file that ``path`` stands for.

    If a file or folder has the same name as a pretrained model, the file or folder is meant.

    Args:
        path: a checkpoint file, the name of a pretrained model, or the folder of a training, which stands for its best
            checkpoint.
        without_score: whether to return the last checkpoint of a training that has no best checkpoint yet.

    Raises:
        FileNotFoundError: no file, folder or pretrained model has that name, or the folder has no best checkpoint.
    """
    if os.path.lexists(path):
        folder = Path(path)
        if not folder.is_dir() or os.path.lexists(folder / BEST):
            return folder / BEST if folder.is_dir() else folder
        if (folder / LAST).exists():
            if without_score:
                return folder / LAST
            raise FileNotFoundError(f"expected {BEST} in {path}, whose training has not come to its first score")
        raise FileNotFoundError(f"expected {path} to be the folder of a training, got one without {BEST}")
    if str(path) in models.PRETRAINED:
        return trained.model_file(str(path))
    expected = f"a checkpoint, the folder of a training, or a pretrained model of {', '.join(models.PRETRAINED)}"
    raise FileNotFoundError(f"expected {expected}, got {path}")


@never_compiled
def load_model(
    path: str | Path, device: torch.device | str = "cpu"
) -> tuple[models.AutoregressiveModel, dict[str, Any]]:
    """Returns the model of a checkpoint, and the checkpoint's facts, such as its data set and settings.

    If the checkpoint has a moving average of the parameters, the model gets the average. ``path`` is as in
    :func:`resolve`. Raises the errors of :func:`resolve` and :func:`load`, and ValueError if a parameter is not finite.

    Example:
        >>> model, facts = load_model("runs/mnist5k")  # doctest: +SKIP
        >>> model.sample(16, facts["data"]["shape"])  # doctest: +SKIP
    """
    path = resolve(path)
    tensors, facts = load(path)
    model = models.from_config(facts["model"])
    load_scored(model, tensors, path)
    for name, parameter in model.state_dict().items():
        if not parameter.isfinite().all():
            raise ValueError(f"expected a model of finite parameters, got infinity or NaN in {name} of {path}")
    return model.to(device).eval(), facts
