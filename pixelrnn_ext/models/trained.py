"""The trained models that come with the package.

Their files are in ``pixelrnn_ext/pretrained``, and training/export.py makes them.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .._dynamo import never_compiled
from .autoregressive import AutoregressiveModel
from .configurations import from_config

FOLDER = Path(__file__).parents[1] / "pretrained"
TABLE = "models.json"
# Each model's SHA-256, and its negative log-likelihoods on the validation and test splits, in nats per image. Beside
# them are four samples of its own, in a file of the codec, and their mean negative log-likelihood.
PRETRAINED: dict[str, dict[str, Any]] = json.loads((FOLDER / TABLE).read_text())


@never_compiled
def pretrained(name: str) -> AutoregressiveModel:
    """Returns a trained model that comes with the package, on the CPU, in eval mode.

    Args:
        name: one of the names in ``px.models.PRETRAINED``, a dictionary that also has each model's likelihoods.

    Raises:
        ValueError: no model has that name, or the model's file was changed.

    Example:
        >>> model = pretrained("mnist5k-diagonal")
        >>> model.sample(2, (1, 28, 28), generator=torch.Generator().manual_seed(0)).shape
        torch.Size([2, 1, 28, 28])
    """
    tensors, config = _parsed(model_file(name).read_bytes())
    model = from_config(config)
    model.load_state_dict(tensors)
    return model.eval()


def model_file(name: str) -> Path:
    if name not in PRETRAINED:
        raise ValueError(f"expected the name of a pretrained model, one of {', '.join(PRETRAINED)}, got {name!r}")
    path = FOLDER / f"{name}.safetensors"
    expected, got = PRETRAINED[name]["sha256"], hashlib.sha256(path.read_bytes()).hexdigest()
    if got != expected:
        raise ValueError(f"expected a file whose SHA-256 is {expected}, got {got}: {path} is not the package's")
    return path


def _parsed(content: bytes) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Returns the parameters and the configuration in a safetensors file of float32 tensors."""
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    facts = json.loads(header.pop("__metadata__")["pixelrnn_ext"])
    numbers = torch.frombuffer(bytearray(content[start:]), dtype=torch.float32)
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        tensors[name.removeprefix("model.")] = numbers[begin // 4 : end // 4].view(entry["shape"])
    return tensors, facts["model"]
