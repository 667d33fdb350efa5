"""Imports packages of the ``train`` extra on first use, because the package itself needs only torch and numpy."""

import importlib
from typing import Any

# The package is not published, so pip needs the folder or the wheel.
INSTALL = """pip install ".[train]" in a checkout, pip install "./NAME.whl[train]" where NAME.whl is the wheel"""


class MissingPackage(ImportError):
    """A package of the ``train`` extra is not installed."""


def need(module: str, install: str = INSTALL) -> Any:
    """Imports a module. Raises MissingPackage, which says how to ``install`` it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingPackage(f"{error}: the command line needs more packages: {install}") from error
