"""Describes the machine for reports."""

import os
import platform
import re
from pathlib import Path

import torch


def processor() -> str:
    """Returns the processor's name, if known, and the number of logical cores."""
    try:
        names = re.findall(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        names = []
    return f"{names[0] if names else platform.processor() or platform.machine()}, {os.cpu_count()} logical cores"


def gpus() -> str:
    return ", ".join(map(torch.cuda.get_device_name, range(torch.cuda.device_count()))) or "none"


def facts() -> dict[str, str]:
    """Returns facts about the machine and Python by name."""
    return {"system": system(), "python": platform.python_version(), "processor": processor(), "gpus": gpus()}


def system() -> str:
    """Returns the operating system, its version, the architecture, and on Linux the C library."""
    libc = " ".join(platform.libc_ver()).strip()
    return ", ".join(filter(None, [f"{platform.system()} {platform.release()}", platform.machine(), libc]))
