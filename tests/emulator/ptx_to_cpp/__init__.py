"""Translates the PTX of NVRTC and nvcc to C++ that calls runtime.h. An unknown instruction raises UnknownInstruction.

Entry NAME becomes `void ptx_NAME(const void* args)`, which registers itself with its synchronisation sites.
"""

from .module import Module
from .parser import UnknownInstruction

__all__ = ["UnknownInstruction", "translate"]


def translate(ptx):
    return Module(ptx).translate()
