"""Translates PTX, as NVRTC and nvcc write it, to C++ that runs on a CPU.

A kernel NAME becomes `void ptx_NAME(const void* args)`, registered with the instructions that a test can break. An
instruction without a translation raises UnknownInstruction.
"""

from .module import Module
from .parser import UnknownInstruction

__all__ = ["UnknownInstruction", "translate"]


def translate(ptx):
    return Module(ptx).translate()
