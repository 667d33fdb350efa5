"""Looks once whether the resident CUDA kernels compute on a GPU what a CPU computes.

Before the first scan of a size by a file of kernels (csrc/cuda/scan/resident*.cu), a small scan is compared with that
of the CPU kernels in float64. The user's cache keeps the verdict for the GPU, its driver and the kernels' sources. If
the results differ, a warning says so, and the file's scans take the step path.

``PIXELRNN_SELF_CHECK=0`` turns the check off. Other paths than "auto" are never checked or replaced.
"""

import hashlib
import json
import os
import warnings
from contextlib import nullcontext, suppress
from functools import cache
from math import prod
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from ...cells import CELLS
from ..library import BUILD
from . import gpu
from .arguments import OPERANDS, Gradients, Scan

# The largest relative error of each number format. Rounding alone stays far below, a wrong value far above.
BOUNDS = {"fp32": 1e-4, "tf32": 2e-2, "bf16": 5e-2, "fp16": 1e-2}
_MAX_HIDDEN = 1024  # no resident kernel has room for more
_MAPS = 2, 5, 9  # images, height and width: a line is longer than a tile of 8 cells
_WANTED = [name in ("x", "c0") for name in OPERANDS]
_lock = Lock()
_trusted: set[tuple[torch.device, str]] = set()  # (device, name of a check)
_distrusted: set[tuple[torch.device, str]] = set()  # (device, file of kernels)


def trusted(ops: Any, s: Scan) -> Scan:
    """Returns the scan, with the step path in place of "auto" if the resident kernels are wrong on its GPU."""
    directions, taps, hidden, gates, _ = s.weight_hh.shape
    carries_up = CELLS[s.cell].carries_up
    formats = {torch.float32: "tf32" if s.tf32 else "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}
    format = formats.get(s.weight_hh.dtype)
    never_resident = format is None or s.peephole is not None or (s.sizes is not None and not carries_up)
    never_resident = never_resident or not 0 < hidden <= _MAX_HIDDEN
    if s.path != "auto" or never_resident or os.environ.get("PIXELRNN_SELF_CHECK") == "0":
        return s
    device, kernels = s.weight_hh.device, f"resident{'' if gates == 4 else gates}_{format}"
    name = f"{kernels} D{directions} {'diagonal' if s.diagonal else 'row'} taps{taps} h{hidden}"
    if (device, name) in _trusted:
        return s
    found: str | None = ""
    with _lock, torch.cuda.device(device) if device.type == "cuda" else nullcontext():
        if (device, kernels) not in _distrusted:
            found = _look(ops, s, name, BOUNDS[format or ""])
            # The verdict is noted before the warning, which the user's filters may turn into an exception.
            if found is not None:
                (_distrusted if found else _trusted).add((device, kernels if found else name))
    if found:
        warnings.warn(
            f"the CUDA kernels {kernels} compute wrong values on {_identity(device)[0]}: {found}; their scans take the "
            f"step path from now on, which is slower (PIXELRNN_SELF_CHECK=0 runs these kernels nevertheless)",
            RuntimeWarning,
            stacklevel=2,
        )
    return s._replace(path="step") if (device, kernels) in _distrusted else s


def _look(ops: Any, s: Scan, name: str, bound: float) -> str | None:
    """Returns what differs, "" if nothing does or the kernels cannot run, and None during a CUDA graph's capture."""
    device, kernels = s.weight_hh.device, name.split()[0]
    stored = _stored(device)
    wrong = (verdict for other, verdict in stored.items() if verdict and other.split()[0] == kernels)
    if (verdict := next(wrong, stored.get(name))) is not None:
        return verdict
    if device.type == "cuda" and torch.cuda.is_current_stream_capturing():
        return None
    for path in ("resident", "auto"):  # if only the backward has no resident kernel, "auto" takes that of the forward
        # "auto" may take the step path's matrix products, whose tf32 torch.backends.cuda.matmul decides.
        allowed = bound if path == "resident" else max(bound, BOUNDS["tf32"])
        try:
            with _disable_current_modes():
                verdict = _differences(ops, s, path, allowed)
        except torch.AcceleratorError as error:  # the GPU's context is broken from now on
            failed = f"the CUDA kernels {kernels} failed on {_identity(device)[0]}: {error}"
            raise RuntimeError(f"{failed} (backend='step' avoids these kernels)") from error
        except Exception:
            # If the small scan lacks memory, for example, so does the user's scan, whose exception is the better one.
            continue
        _store(device, {name: verdict})
        return verdict
    return ""


def _differences(ops: Any, s: Scan, path: str, bound: float) -> str:
    """Runs a small scan forward and backward. Neither random numbers nor autograd take part."""
    directions, taps, hidden, gates, _ = s.weight_hh.shape
    sizes: dict[str, tuple[int, ...]] = {"weight_hh": s.weight_hh.shape, "dh": (*_MAPS, directions, hidden)}
    sizes |= {"x": (directions, *_MAPS, gates * hidden), "h0": (directions, hidden), "c0": (directions, hidden)}
    values, scales = {}, {"weight_hh": (taps * hidden) ** -0.5}
    for i, (name, size) in enumerate(sizes.items()):
        numbers = torch.arange(prod(size), dtype=torch.float64, device="cpu")
        wave = (numbers.square() * (1.7 + 0.1 * i)).sin() * scales.get(name, 1.0)
        values[name] = wave.view(size).to(s.weight_hh.dtype)

    def run(scan: Any, scan_gradients: Any, dh: Tensor, **operands: Tensor) -> list[Tensor]:
        cell = "stable" if CELLS[s.cell].carries_up else "pixelrnn"  # rounding would change what the cell "max" chooses
        small = s._replace(**absent, **operands, cell=cell, merge="none", path=path)  # type: ignore[arg-type]
        _, h, c, activated = scan(small)
        gradients = scan_gradients(Gradients(dh, h, c, activated, _WANTED, False, small))
        return [h, c, activated, *(t for t, want in zip(gradients, _WANTED) if want)]

    absent, cpu = dict.fromkeys(("input", "weight_ih", "bias", "peephole", "sizes")), torch.ops.pixelrnn_ext
    on_gpu = {name: t.to(s.weight_hh.device, non_blocking=True) for name, t in values.items()}
    got = run(lambda small: gpu.scan(ops, small), lambda g: gpu.scan_gradients(ops, g), **on_gpu)
    exact = {name: t.double() for name, t in values.items()}
    expected = run(lambda small: cpu.scan(*small), lambda g: cpu.scan_gradients(*g.flat), **exact)
    flat = torch.cat([t.float().flatten() for t in got])
    if flat.is_cuda:  # copied without a call that torch.cuda.set_sync_debug_mode("error") refuses
        host = torch.empty(flat.shape, dtype=flat.dtype, device="cpu", pin_memory=True)
        flat = host.copy_(flat, non_blocking=True)
        torch.cuda.current_stream().record_event().synchronize()
    parts = flat.split([t.numel() for t in got])
    errors = [((part - e.flatten()).norm() / e.norm()).item() for part, e in zip(parts, expected)]
    bad = [f"{name} {error:.1e}" for name, error in zip(("h", "c", "gates", "dx", "dc0"), errors) if not error <= bound]
    return f"relative errors of {', '.join(bad)}, where rounding explains {bound:g}" if bad else ""


@cache
def _identity(device: torch.device) -> tuple[str, ...]:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "the CPU"
    driver, build = "", [str(BUILD.get(fact)) for fact in ("cuda", "cuda_archs", "cuda_left_out", "csrc")]
    with suppress(OSError, ValueError):
        driver = Path("/proc/driver/nvidia/version").read_text()
    return name, driver, *build


def _file(device: torch.device) -> Path:
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pixelrnn_ext"
    return folder / f"self_check-{hashlib.sha256(repr(_identity(device)).encode()).hexdigest()[:16]}.json"


def _stored(device: torch.device) -> dict[str, str]:
    """Returns the verdicts of earlier processes, none if the file is missing or damaged."""
    with suppress(OSError, RuntimeError, ValueError, TypeError, AttributeError, LookupError):
        verdicts = json.loads(_file(device).read_bytes())["verdicts"]
        return {name: verdict for name, verdict in verdicts.items() if name.strip() and isinstance(verdict, str)}
    return {}


def _store(device: torch.device, verdicts: dict[str, str]) -> None:
    """Adds verdicts to the file, by a rename. A home that is missing or cannot be written is no error."""
    with suppress(OSError, RuntimeError):
        file = _file(device)
        new = file.with_suffix(f".{os.urandom(8).hex()}")
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            new.write_text(json.dumps({"of": _identity(device), "verdicts": _stored(device) | verdicts}))
            new.replace(file)
        finally:
            new.unlink(missing_ok=True)
