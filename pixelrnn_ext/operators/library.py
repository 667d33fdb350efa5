"""Loads the compiled kernels, says why where they are missing, and chooses the instruction set of the CPU kernels."""

import importlib
import importlib.util
import os
import sys
from importlib.machinery import PathFinder
from pathlib import Path

import torch

_PACKAGE = "pixelrnn_ext"

try:
    BUILD: dict[str, str | None] = importlib.import_module(f"{_PACKAGE}._build_info").BUILD  # setup.py writes it
except ImportError:
    BUILD = dict.fromkeys(("version", "torch", "compiler", "cuda", "cuda_archs", "why_no_native", "why_no_cuda"))

VERSION = BUILD["version"] or "unknown"

_VARIABLE = "PIXELRNN_INSTRUCTION_SET"


def _is_built(module: str) -> bool:
    return importlib.util.find_spec(f"{_PACKAGE}.{module}") is not None


def _import(module: str) -> None:
    importlib.import_module(f"{_PACKAGE}.{module}")


def hidden_installation() -> Path | None:
    """The folder of an installed pixelrnn_ext that this one, a source folder which was not built, hides from Python."""
    here = Path(__file__).resolve().parents[1]
    if _is_built("_C") or BUILD["why_no_native"]:
        return None
    others = [entry for entry in sys.path if Path(entry or ".").resolve() != here.parent]
    found = PathFinder.find_spec(here.name, others)
    return Path(found.origin).parent.parent if found and found.origin else None


def _not_built(kernels: str, reason: str | None) -> str:
    if reason:
        return f"pixelrnn_ext was built without its {kernels} kernels: {reason}"
    source, installed = Path(__file__).resolve().parents[2], hidden_installation()
    build = f"pip install -e {source}"
    if installed is None:
        return f"the source folder {source} was not built: {build} builds it in place"
    return (
        f"the source folder {source} comes first on Python's path and hides the package that is installed in "
        f"{installed}: run from another folder, or build this one in place with {build}"
    )


def _does_not_load(kernels: str, error: ImportError) -> str:
    built = f" (built against torch {BUILD['torch']})" if BUILD["torch"] else ""
    return f"the {kernels} kernels{built} do not load on torch {torch.__version__}: {error}"


def _load_native() -> str | None:
    if not _is_built("_C"):
        return _not_built("CPU", BUILD["why_no_native"])
    try:
        _import("_C")  # registers the operators
    except ImportError as error:
        return _does_not_load("CPU", error)
    if not hasattr(torch.ops.pixelrnn_ext, "round_to_grid"):
        return "the CPU kernels beside the package are of other sources: build them again (pip install -e .)"
    return None


def _load_cuda() -> str | None:
    if not _is_built("_C_cuda"):
        return _not_built("CUDA", BUILD["why_no_cuda"])
    if torch.version.cuda is None:
        return f"torch {torch.__version__} is built without CUDA"
    if _why_no_native:
        return f"the CUDA kernels need the CPU kernels: {_why_no_native}"
    try:
        _import("_C_cuda")  # registers the operators' CUDA kernels
    except ImportError as error:
        return _does_not_load("CUDA", error)
    return None


def _level() -> int:
    return torch.ops.pixelrnn_ext.set_instruction_set(-1)


def _threads_run_at_once() -> bool:
    """Whether torch's threads are OpenMP's, a team. Those of a pool may run in turn, and then none may wait."""
    return "ATen parallel backend: OpenMP" in torch.__config__.parallel_info()


_why_no_native = _load_native()
_why_no_cuda = _load_cuda()
# By level (csrc/cpu/instruction_set.h). The kernels start with the best one of the machine.
_available: tuple[str, ...] = ()
if _why_no_native is None:
    _available = tuple(map(torch.ops.pixelrnn_ext.instruction_set_name, range(_level() + 1)))
    if not _threads_run_at_once():
        torch.ops.pixelrnn_ext.set_threads_at_once(False)


def why_no_native() -> str | None:
    """None when the compiled CPU kernels are loaded, otherwise one sentence."""
    return _why_no_native


def why_no_cuda() -> str | None:
    """None when the compiled CUDA kernels are loaded, otherwise one sentence."""
    return _why_no_cuda


def instruction_sets() -> tuple[str, ...]:
    """The instruction sets of the CPU kernels that this machine has, the best one last."""
    return _available


def _set_instruction_set(name: str, source: str) -> None:
    if name not in _available:
        has = ", ".join(_available) or f"none, since {_why_no_native}"
        raise ValueError(f"{source}: expected an instruction set of this machine ({has}), got {name!r}")
    torch.ops.pixelrnn_ext.set_instruction_set(_available.index(name))


def set_instruction_set(name: str) -> None:
    """Chooses the instruction set of the CPU kernels, for tests and benchmarks. It holds for the whole process."""
    _set_instruction_set(name, "set_instruction_set")


def build_config() -> dict[str, object]:
    """What was compiled in, by what and against what, and what is missing and why.

    ``openmp``: whether torch's threads, which the CPU kernels use, are OpenMP's. Of others nobody knows that they run
    at the same time, so that none waits for another: a scan of few images then has fewer threads.
    """
    return {
        "version": VERSION,
        "torch": torch.__version__,
        "built_against_torch": BUILD["torch"],
        "native": _why_no_native is None,
        "why_no_native": _why_no_native,
        "compiler": BUILD.get("compiler"),
        "openmp": _threads_run_at_once(),
        "instruction_set": _available[_level()] if _available else None,
        "instruction_sets": _available,
        "cuda": BUILD["cuda"],
        "cuda_archs": BUILD["cuda_archs"],
        "why_no_cuda": _why_no_cuda,
    }


if os.environ.get(_VARIABLE):
    _set_instruction_set(os.environ[_VARIABLE], _VARIABLE)
