"""Measures the peak memory of one training step in a fresh process."""

import concurrent.futures
import gc
import multiprocessing
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from .problems import Case

METHOD = (
    "Peak memory: high-water mark of the resident set (VmHWM) over one forward+backward, less the resident set before "
    "it, in a fresh process after a tiny step. Inputs, parameters and cotangents exist before it and do not count."
)
_PROC = Path("/proc/self")
MIB = 2**20


def peaks(case: Case, dtype: torch.dtype, threads: int, providers: list[str]) -> dict[str, float | None]:
    """Returns the MiB that one training step of each implementation adds to its process, or None if unknown."""
    if not (_PROC / "clear_refs").exists():
        return dict.fromkeys(providers)
    # Makes glibc return freed buffers, so that the peak counts only memory in use.
    os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", "65536")
    context = multiprocessing.get_context("forkserver")
    # Preloads torch alone. The current folder may have an unbuilt pixelrnn_ext, which an import would find.
    context.set_forkserver_preload(["torch"])
    results = {}
    for name in providers:
        with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as fresh:
            results[name] = fresh.submit(_peak, case, dtype, threads, name).result()
    return results


def _peak(case: Case, dtype: torch.dtype, threads: int, provider: str) -> float | None:
    torch.set_num_threads(threads)

    def step(case: Case) -> Callable[[], object]:
        (found,) = [p for p in case.problem(dtype).providers if p.name == provider]
        return found.step("forward+backward")

    step(replace(case, size=case.size.tiny()))()  # a small first step loads libraries and starts threads
    run = step(case)
    gc.collect()
    try:
        (_PROC / "clear_refs").write_text("5")  # resets the high-water mark of memory, VmHWM
    except OSError:
        return None
    before = _status("VmRSS")
    run()
    return (_status("VmHWM") - before) / MIB


def _status(field: str) -> int:
    found = re.search(rf"{field}:\s*(\d+) kB", (_PROC / "status").read_text())
    assert found
    return 1024 * int(found[1])
