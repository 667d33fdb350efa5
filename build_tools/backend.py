"""Build backend (PEP 517) that runs setuptools with the installed torch."""

import importlib.metadata
import os
import sys
import sysconfig

from setuptools import build_meta as _setuptools
from setuptools.build_meta import *  # noqa: F403  (the hooks that need no torch)

from device_code import PACKAGES as COMPILER_OF_KERNELS

TORCH = "torch>=2.11"


def _site_packages():
    """Returns the folders with the packages of the Python environment that runs pip.

    pip hides these folders from an isolated build, but sysconfig still returns their paths. If torch is not in these
    folders, as in the fresh environment of uv or `python -m build`, the build requires any torch from 2.11 on.
    """
    return list(dict.fromkeys([sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]))


def _torch_is_installed():
    return any(True for _ in importlib.metadata.distributions(name="torch", path=_site_packages()))


def get_requires_for_build_wheel(config_settings=None):
    torch = [] if _torch_is_installed() else [TORCH]
    return torch + (COMPILER_OF_KERNELS if os.environ.get("PIXELRNN_CUDA") == "1" else [])


get_requires_for_build_editable = get_requires_for_build_wheel


def _with_torch(hook):
    def run(*args, **kwargs):
        if _torch_is_installed():
            # pip builds a package in an isolated environment, which lacks torch. The folders with the user's torch are
            # therefore added to sys.path. They come last, so that Python prefers the isolated environment's own
            # setuptools and ninja.
            sys.path.extend(path for path in _site_packages() if path not in sys.path)
        return hook(*args, **kwargs)

    return run


build_wheel = _with_torch(_setuptools.build_wheel)
build_editable = _with_torch(_setuptools.build_editable)
