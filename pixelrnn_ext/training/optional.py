"""The packages of the ``train`` extra, imported when one is first needed: ``import pixelrnn_ext`` needs torch and numpy
alone."""

import importlib
from typing import Any

# Nothing is published under the package's name, so that pip needs the folder or the file.
INSTALL = """pip install ".[train]" in a checkout, pip install "./NAME.whl[train]" where NAME.whl is the wheel"""


class MissingPackage(ImportError):
    """A package of the ``train`` extra is not installed."""


def need(module: str, install: str = INSTALL) -> Any:
    """The module of that name, which a type checker need not find.

    Raises:
        MissingPackage: it cannot be imported; the sentence says how to ``install`` it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingPackage(f"{error}: the command line needs more packages: {install}") from error
