"""On what a benchmark of benchmarks/ ran, and to which instruction set it is held."""

import os
import shlex
from collections.abc import Iterable
from pathlib import Path

from pixelrnn_ext.benchmark import environment as described
from pixelrnn_ext.operators import library

_ENGINES = {"baseline": ("SSE4_2", "default", "SSE41"), "avx2": ("AVX2", "avx2", "AVX2")}


def environment(script: str, argv: list[str], threads: Iterable[int]) -> dict[str, str]:
    return described.environment(shlex.join(["python", f"benchmarks/{Path(script).name}", *argv]), threads)


def use_instruction_set(name: str) -> None:
    """Holds the kernels to an instruction set, and MKL, oneDNN and torch, which read theirs at their first use."""
    library.set_instruction_set(name)
    if name != library.instruction_sets()[-1]:
        mkl, aten, onednn = _ENGINES[name]
        os.environ |= {"PIXELRNN_INSTRUCTION_SET": name}  # for the processes that measure memory
        os.environ |= {"MKL_ENABLE_INSTRUCTIONS": mkl, "ATEN_CPU_CAPABILITY": aten, "ONEDNN_MAX_CPU_ISA": onednn}
