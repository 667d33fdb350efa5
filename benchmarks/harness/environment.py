"""On what a benchmark ran."""

import datetime
import os
import platform
import re
import shlex
from collections.abc import Iterable
from pathlib import Path

import torch

import pixelrnn_ext as px
from pixelrnn_ext._command import WAITING
from pixelrnn_ext.operators import library

_ENGINES = {"baseline": ("SSE4_2", "default", "SSE41"), "avx2": ("AVX2", "avx2", "AVX2")}


def environment(script: str, argv: list[str], threads: Iterable[int]) -> dict[str, str]:
    config = px.build_config()
    waiting = [f"{name}={os.environ[name]}" for name in WAITING if name in os.environ]
    return {
        "command": shlex.join(["python", f"benchmarks/{Path(script).name}", *argv]),
        "CPU": f"{cpu_model()}, {os.cpu_count()} logical cores",
        "torch": torch.__version__,
        "pixelrnn_ext": config["version"],
        "threads": ", ".join(map(str, dict.fromkeys(threads))),
        **({"threads wait by": ", ".join(waiting)} if waiting else {}),
        "instruction set": f"{config['instruction_set'] or 'none'} (torch: {torch.backends.cpu.get_cpu_capability()})",
        "date": datetime.date.today().isoformat(),
    }


def cpu_model() -> str:
    try:
        names = re.findall(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def use_instruction_set(name: str) -> None:
    """Holds the kernels to an instruction set, and MKL, oneDNN and torch, which read theirs at their first use."""
    library.set_instruction_set(name)
    if name != library.instruction_sets()[-1]:
        mkl, aten, onednn = _ENGINES[name]
        os.environ |= {"PIXELRNN_INSTRUCTION_SET": name}  # for the processes that measure memory
        os.environ |= {"MKL_ENABLE_INSTRUCTIONS": mkl, "ATEN_CPU_CAPABILITY": aten, "ONEDNN_MAX_CPU_ISA": onednn}
