"""The packages of the ``train`` extra, imported when one is first needed: ``import pixelrnn_ext`` needs torch and numpy alone."""

import importlib
from types import ModuleType


class MissingPackage(ImportError):
    """A package of the ``train`` extra is not installed."""


def need(module: str) -> ModuleType:
    """The module of that name.

    Raises:
        MissingPackage: it cannot be imported; the sentence says the pip command.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingPackage(f'{error}: pip install "pixelrnn_ext[train]"') from error
