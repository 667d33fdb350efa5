"""The paper's models by name (section 5), and conversion of any model to a dictionary and back."""

import copy
import inspect
from typing import Any

from .._dynamo import never_compiled
from .autoregressive import AutoregressiveModel
from .multiscale import MultiScalePixelRNN
from .stack import PixelCNN, PixelRNN

_CLASSES: dict[str, type[AutoregressiveModel]] = {cls.__name__: cls for cls in (PixelRNN, PixelCNN, MultiScalePixelRNN)}

_MNIST: dict[str, Any] = dict(image_channels=1, levels=2, head_channels=32)
_MNIST_DIAGONAL: dict[str, Any] = dict(model="PixelRNN", layer="diagonal", **_MNIST)
_RGB: dict[str, Any] = dict(image_channels=3, levels=256, head_channels=1024)
_RGB_ROW: dict[str, Any] = dict(model="PixelRNN", layer="row", **_RGB)
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "mnist-diagonal": dict(hidden_channels=16, num_layers=7, **_MNIST_DIAGONAL),
    "mnist-diagonal-1-layer": dict(hidden_channels=32, num_layers=1, **_MNIST_DIAGONAL),
    # The paper does not say how wide these two models are. They have about as many parameters as mnist-diagonal.
    "mnist-row": dict(model="PixelRNN", layer="row", hidden_channels=15, num_layers=7, **_MNIST),
    "mnist-pixelcnn": dict(model="PixelCNN", hidden_channels=26, num_layers=7, **_MNIST),
    "cifar10-row": dict(hidden_channels=128, num_layers=12, **_RGB_ROW),
    "cifar10-diagonal": dict(model="PixelRNN", layer="diagonal", hidden_channels=128, num_layers=12, **_RGB),
    "cifar10-pixelcnn": dict(model="PixelCNN", hidden_channels=128, num_layers=15, **_RGB),
    "imagenet32-row": dict(hidden_channels=384, num_layers=12, **_RGB_ROW),
    "imagenet64-row": dict(hidden_channels=512, num_layers=4, residual=False, **_RGB_ROW),
}


@never_compiled
def from_name(name: str, **overrides: Any) -> AutoregressiveModel:
    """Returns an untrained model with the architecture of one of the paper's models (section 5).

    Args:
        name: one of the names in ``CONFIGURATIONS``, such as ``"mnist-diagonal"``.
        overrides: arguments of the model's class, such as ``backend``, which replace those of the paper's model.

    Example:
        >>> from_name("mnist-diagonal", condition_channels=10).num_layers
        7
    """
    if name not in CONFIGURATIONS:
        raise ValueError(f"expected the name of a model, one of {', '.join(CONFIGURATIONS)}, got {name!r}")
    return from_config(CONFIGURATIONS[name] | overrides)


def to_config(model: AutoregressiveModel) -> dict[str, Any]:
    """Returns a dictionary of JSON values with the name of a model's class and the arguments of its constructor.

    :func:`from_config` makes an untrained copy of the model from this dictionary.

    Raises:
        TypeError: the model has no attribute for an argument of its constructor.
    """
    kind, arguments = type(model).__name__, inspect.signature(type(model)).parameters
    for name in arguments:
        if not hasattr(model, name):
            raise TypeError(f"expected the arguments of {kind} to be attributes of the model, got none named {name!r}")
    return {"model": kind} | {name: copy.copy(getattr(model, name)) for name in arguments}


@never_compiled
def from_config(config: dict[str, Any]) -> AutoregressiveModel:
    """Returns an untrained model from a dictionary that :func:`to_config` made. Raises ValueError for anything else."""
    name = config.get("model") if isinstance(config, dict) else None
    if not isinstance(name, str) or name not in _CLASSES:
        expected = f"the configuration of a model, one of {', '.join(_CLASSES)}"
        raise ValueError(f"expected {expected}, got {repr(config)[:200]}")
    try:
        return _CLASSES[name](**{key: value for key, value in config.items() if key != "model"})
    except TypeError as error:
        raise ValueError(f"expected the arguments of {name}, got others: {error}") from error
