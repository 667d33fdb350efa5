"""Describes the machine for reports: system, Python version, processor and GPUs."""

import os
import platform
import re
from pathlib import Path

import torch


def processor() -> str:
    try:
        names = re.findall(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        names = []
    return f"{names[0] if names else platform.processor() or platform.machine()}, {os.cpu_count()} logical cores"


def facts() -> dict[str, str]:
    libc = " ".join(platform.libc_ver()).strip()
    system = ", ".join(filter(None, [f"{platform.system()} {platform.release()}", platform.machine(), libc]))
    gpus = ", ".join(map(torch.cuda.get_device_name, range(torch.cuda.device_count()))) or "none"
    return {"system": system, "python": platform.python_version(), "processor": processor(), "gpus": gpus}
