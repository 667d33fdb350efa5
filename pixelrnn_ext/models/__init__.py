"""The models of the paper, made of the layers of this package."""

from .autoregressive import AutoregressiveModel
from .configurations import CONFIGURATIONS, from_config, from_name, to_config
from .multiscale import MultiScalePixelRNN
from .stack import PixelCNN, PixelRNN
from .trained import PRETRAINED, pretrained

__all__ = [
    "CONFIGURATIONS",
    "PRETRAINED",
    "AutoregressiveModel",
    "MultiScalePixelRNN",
    "PixelCNN",
    "PixelRNN",
    "from_config",
    "from_name",
    "pretrained",
    "to_config",
]
