"""Translates the PTX of NVRTC and nvcc to C++ that calls runtime.h. An unknown instruction raises UnknownInstruction.

A kernel NAME becomes `void ptx_NAME(const void* args)`. The C++ registers this function with the Sites (runtime.h) of
its synchronisation.
"""

from .module import Module
from .parser import UnknownInstruction

__all__ = ["UnknownInstruction", "translate"]


def translate(ptx):
    return Module(ptx).translate()
