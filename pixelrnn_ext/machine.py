"""The machine in words, for a report or beside a time."""

import os
import platform
import re
from pathlib import Path

import torch


def processor() -> str:
    """The processor's name, where the system says it."""
    try:
        names = re.findall(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        names = []
    return f"{names[0] if names else platform.processor() or platform.machine()}, {os.cpu_count()} logical cores"


def gpus() -> str:
    """The GPUs that torch sees."""
    return ", ".join(map(torch.cuda.get_device_name, range(torch.cuda.device_count()))) or "none"


def facts() -> dict[str, str]:
    """What a report says of the machine and of Python, by name."""
    return {"system": system(), "python": platform.python_version(), "processor": processor(), "gpus": gpus()}


def system() -> str:
    """The operating system, its version and the architecture; of Linux the C library, too."""
    libc = " ".join(platform.libc_ver()).strip()
    return ", ".join(filter(None, [f"{platform.system()} {platform.release()}", platform.machine(), libc]))
