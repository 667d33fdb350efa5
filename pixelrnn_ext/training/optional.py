"""Imports packages of the ``train`` extra when they are first needed, since the package needs only torch and numpy."""

import importlib
from typing import Any

# Nothing is published under the package's name, so that pip needs the folder or the file.
INSTALL = """pip install ".[train]" in a checkout, pip install "./NAME.whl[train]" where NAME.whl is the wheel"""


class MissingPackage(ImportError):
    """A package of the ``train`` extra is not installed."""


def need(module: str, install: str = INSTALL) -> Any:
    """Imports a module that a type checker need not find. MissingPackage: it says how to ``install`` the package."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingPackage(f"{error}: the command line needs more packages: {install}") from error
