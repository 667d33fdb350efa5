"""Measures the processor's peak of multiply-adds, of which a benchmark's report shows each implementation's share."""

import os
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

import torch

from pixelrnn_ext.benchmark.jobs import Peaks

from .cxx import compiler

_SOURCE = Path(__file__).with_suffix(".cpp")


def measure(threads: Iterable[int]) -> Peaks:
    """Returns the multiply-adds a second of float32, and of bfloat16 if the processor has instructions for it.

    Takes about a second, after a C++ compiler built the program peak.cpp. More threads than cores
    have the peak of all cores.

    Raises:
        OSError, subprocess.CalledProcessError: the program cannot be built or run.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    on_cores = {count: str(min(count, cores)) for count in threads}
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "peak"
        options = "-std=c++17", "-O2", "-march=native", "-pthread"
        _output(*compiler(), *options, _SOURCE, "-o", program)
        lines = [line.split() for line in _output(program, *sorted({*on_cores.values()})).splitlines()]
    found = {(dtype, count): float(rate) for dtype, count, rate in lines}
    return {
        (getattr(torch, dtype), count): rate
        for count, used in on_cores.items()
        for (dtype, measured), rate in found.items()
        if measured == used
    }


def _output(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
