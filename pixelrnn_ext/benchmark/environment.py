"""The machine and the versions that a benchmark ran on."""

import datetime
import os
from collections.abc import Iterable

import torch

from .._command import WAITING
from ..machine import processor
from ..operators import library


def environment(command: str, threads: Iterable[int]) -> dict[str, str]:
    """Returns the header of a report by name: the command, the machine and the versions."""
    waiting = [f"{name}={os.environ[name]}" for name in WAITING if name in os.environ]
    return {
        "command": command,
        "CPU": processor(),
        "torch": torch.__version__,
        "pixelrnn_ext": library.VERSION,
        "threads": ", ".join(map(str, dict.fromkeys(threads))),
        **({"threads wait by": ", ".join(waiting)} if waiting else {}),
        "instruction set": f"{library.instruction_set() or 'none'} (torch: {torch.backends.cpu.get_cpu_capability()})",
        "date": datetime.date.today().isoformat(),
    }
