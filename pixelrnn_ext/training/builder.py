import inspect
from typing import Any

import torch

from .. import models
from .data import DataSet

KINDS = {
    "row": dict(model="PixelRNN", layer="row"),
    "diagonal": dict(model="PixelRNN", layer="diagonal"),
    "pixelcnn": dict(model="PixelCNN"),
    "multiscale": dict(model="MultiScalePixelRNN", layer="diagonal"),
}
SIZES = dict(hidden_channels=16, num_layers=7, head_channels=32)


def check_options(name: str, options: dict[str, object]) -> None:
    if name not in KINDS and name not in models.CONFIGURATIONS:
        raise ValueError(f"expected a model of {', '.join([*KINDS, *models.CONFIGURATIONS])}, got {name!r}")
    config = KINDS.get(name) or models.CONFIGURATIONS[name]
    used = {"parameters", *inspect.signature(getattr(models, config["model"])).parameters}
    if name != "multiscale":
        used.discard("layer")
    if (config | options).get("layer") == "diagonal":
        used.discard("kernel_size")
    for option in options:
        if option not in used:
            raise ValueError(f"expected no {option.replace('_', '-')} for {name}, which does not take it")


def build(
    name: str, data: DataSet, *, conditional: bool = False, parameters: int | None = None, **options: Any
) -> models.AutoregressiveModel:
    """Returns an untrained model for the images of a data set.

    ``name`` is one of models.CONFIGURATIONS or :data:`KINDS`. ``conditional`` makes an image's class its condition.
    ``parameters`` is an approximate number, from which hidden_channels is computed.
    """
    if name in KINDS:
        config = KINDS[name] | SIZES | dict(image_channels=data.shape[0], levels=data.levels) | options
    else:
        check_options(name, {})
        config = models.CONFIGURATIONS[name] | options
    if conditional:
        if not data.classes:
            raise ValueError(f"expected a data set with labels for a conditional model, got {data.name}")
        config |= dict(condition_channels=len(data.classes))
    if parameters is not None:
        config |= dict(hidden_channels=_hidden_channels(config, parameters))
    model = models.from_config(config)
    check_fits(model, data)
    return model


def check_fits(model: models.AutoregressiveModel, data: DataSet) -> None:
    got = data.shape[0], data.levels
    if (model.image_channels, model.levels) != got:
        expected = f"{model.image_channels} channels and {model.levels} levels"
        raise ValueError(f"expected images with {expected}, as the model has, got {got[0]} and {got[1]} of {data.name}")
    if model.condition_channels not in (0, len(data.classes)):
        expected = f"{model.condition_channels} classes, as the model has"
        raise ValueError(f"expected {expected}, got {len(data.classes)} of {data.name}")


def count_parameters(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _hidden_channels(config: dict[str, Any], parameters: int) -> int:
    def count(hidden: int) -> int:
        with torch.device("meta"):
            return count_parameters(models.from_config(config | dict(hidden_channels=hidden)))

    # The search begins at one hidden channel for each colour, because every colour needs a hidden channel.
    low = config["image_channels"]
    high = low + 1
    while count(high) < parameters:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(middle) < parameters else (low, middle)
    return min(low, high, key=lambda hidden: abs(count(hidden) - parameters))
