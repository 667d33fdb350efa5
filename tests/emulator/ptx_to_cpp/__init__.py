"""Turns PTX into C++ on runtime.h, as NVRTC and nvcc write it. An instruction that is not known stops the translation.

Every entry NAME becomes `void ptx_NAME(const void* args)`, and registers itself with its synchronisation sites, which a
mutation can break at run time.
"""

from .module import Module
from .parser import UnknownInstruction

__all__ = ["UnknownInstruction", "translate"]


def translate(ptx):
    return Module(ptx).translate()
