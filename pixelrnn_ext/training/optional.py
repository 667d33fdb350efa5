"""Imports the packages of the ``train`` extra at their first use. The layers need only torch and numpy."""

import importlib
from typing import Any

# pixelrnn_ext is in no package index, so pip needs a path.
INSTALL = """pip install ".[train]" in a checkout, pip install "./NAME.whl[train]" where NAME.whl is the wheel"""


class MissingPackage(ImportError):
    """Raised if a package of the ``train`` extra is not installed."""


def need(module: str, install: str = INSTALL) -> Any:
    """Imports a module. Raises MissingPackage with ``install``, which says how to install it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingPackage(f"{error}: the command line needs more packages: {install}") from error
