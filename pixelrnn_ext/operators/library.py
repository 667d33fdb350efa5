"""Loads the compiled kernels, and chooses the instruction set of the CPU kernels.

The functions ``why_no_...`` return None if a part is available. Otherwise they return one sentence that says why it is
missing.
"""

import hashlib
import importlib
import os
import sys
from collections.abc import Iterable
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

import torch

try:
    # The build (setup.py) writes this module.
    BUILD: dict[str, str | None] = importlib.import_module("pixelrnn_ext._build_info").BUILD
except ImportError:
    _FACTS = "version", "torch", "compiler", "cuda", "cuda_archs", "cuda_left_out", "csrc", "glibc"
    BUILD = dict.fromkeys([*_FACTS, "why_no_native", "why_no_cuda"])

VERSION = BUILD["version"] or "unknown"

_VARIABLE = "PIXELRNN_INSTRUCTION_SET"
# Maps a library to a hash of its operators' schemas (csrc/operators). A library that was built from other sources has
# another hash. After you change a schema, `make schemas` writes the hash of the built library.
SCHEMAS = {"_C": "6e83b73a", "_C_cuda": "b2617e00"}
_hashes: dict[str, str] = {}  # of the libraries that are loaded


def _folder() -> Path:
    return Path(__file__).resolve().parents[1]


def _is_built(module: str) -> bool:
    return (_folder() / f"{module}.so").exists()


def hidden_installation() -> Path | None:
    """Returns the folder of the installed pixelrnn_ext that is hidden by this source folder, or None."""
    if _is_built("_C") or BUILD["why_no_native"]:
        return None
    here = _folder()
    others = [entry for entry in sys.path if Path(entry or ".").resolve() != here.parent]
    found = PathFinder.find_spec(here.name, others)
    return Path(found.origin).parent.parent if found and found.origin else None


def _why_not_built(kernels: str, reason: str | None) -> str:
    if reason:
        return f"pixelrnn_ext was built without its {kernels} kernels: {reason}"
    source = _folder().parent
    if installed := hidden_installation():
        return (
            f"the source folder {source} comes first on Python's path and hides the package that is installed in "
            f"{installed}: run from another folder, or build this one in place with pip install -e {source}"
        )
    return f"the source folder {source} was not built: pip install -e {source} builds it in place"


def _operators() -> set[str]:
    names: list[str] = getattr(torch._C, "_dispatch_get_all_op_names", list)()
    return {name for name in names if name.startswith("pixelrnn_ext::")}


def _hash_of_schemas(operators: Iterable[str]) -> str | None:

    def kinds(type: Any) -> tuple[Any, ...]:
        return type.kind(), *map(kinds, type.containedTypes())

    facts = []
    try:
        for name in sorted(operators):
            (schema,) = torch._C._jit_get_schemas_for_operator(name)
            arguments = [(a.name, kinds(a.type), a.has_default_value()) for a in schema.arguments]
            facts.append((schema.name, arguments, [kinds(result.type) for result in schema.returns]))
    except AttributeError:
        return None
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:8]


def _load(module: str, kernels: str, why_not_built: str | None) -> str | None:
    """Loads a compiled library, which registers its operators with torch.

    Returns None, or one sentence that says why the operators cannot be used.
    """
    if not _is_built(module):
        return _why_not_built(kernels, why_not_built)
    before = _operators()
    try:
        torch.ops.load_library(_folder() / f"{module}.so")
    except OSError as error:
        built = f" (built against torch {BUILD['torch']})" if BUILD["torch"] else ""
        return f"the {kernels} kernels{built} do not load on torch {torch.__version__}: {error.__cause__ or error}"
    # If this Python module is reloaded, the library registers no operators again, and nothing is checked.
    registered = _operators() - before
    if registered and (found := _hash_of_schemas(registered)):
        _hashes[module] = found
        if found != SCHEMAS[module]:
            return (
                f"the {kernels} kernels beside the package are of other sources, expected operators {SCHEMAS[module]}, "
                f"got {found}: build them again (pip install -e .)"
            )
    return None


def _load_native() -> str | None:
    return _load("_C", "CPU", BUILD["why_no_native"])


def _load_cuda() -> str | None:
    if _why_no_native and _is_built("_C_cuda"):
        return f"the CUDA kernels need the CPU kernels: {_why_no_native}"
    return _load("_C_cuda", "CUDA", BUILD["why_no_cuda"])


def _threads_run_at_once() -> bool:
    """Returns whether torch's threads are an OpenMP team, whose threads all run at the same time.

    Without OpenMP, threads may run one after the other, so no thread may wait for another.
    """
    return "ATen parallel backend: OpenMP" in torch.__config__.parallel_info()


_why_no_native = _load_native()
_why_no_cuda_library = _load_cuda()
# The names of the instruction sets that this machine supports. The position is the level in the table of
# csrc/cpu/instruction_set.cpp.
_available: tuple[str, ...] = ()
if _why_no_native is None:
    _available = tuple(torch.ops.pixelrnn_ext.instruction_sets().split())
    if not _threads_run_at_once():
        torch.ops.pixelrnn_ext.set_threads_at_once(False)


def why_no_native() -> str | None:
    return _why_no_native


def why_no_planner() -> str | None:
    """Returns why the planner, which chooses the CUDA kernels, is missing. None if it can be used.

    The planner is in the library of the CPU kernels, and needs neither CUDA nor a GPU.
    """
    return _why_no_native


def why_no_cuda() -> str | None:
    without_cuda = None if torch.version.cuda else f"torch {torch.__version__} is built without CUDA"
    return _why_no_cuda_library or without_cuda


@cache
def _why_no_code(index: int) -> str | None:
    major, minor = torch.cuda.get_device_capability(index)
    return torch.ops.pixelrnn_ext.why_no_code(10 * major + minor) or None


def why_no_code(device: torch.device) -> str | None:
    """Returns a sentence that says why the CUDA kernels have no machine code for ``device``, or None if they have.

    Also returns None if torch does not see this GPU: fake tensors may name a GPU of another machine.
    """
    if not torch.cuda.is_available():
        return None
    index = torch.cuda.current_device() if device.index is None else device.index
    return _why_no_code(index) if index < torch.cuda.device_count() else None


# Makes torch.compile treat the function's result as a constant. precision.py explains this attribute.
why_no_code._dynamo_marked_constant = True  # type: ignore[attr-defined]


def why_no_gpu() -> str | None:
    reason = why_no_cuda() or torch.ops.pixelrnn_ext.why_no_gpu() or None
    if reason is None and not torch.cuda.is_available():
        return _older_driver() or f"NVIDIA's driver has a GPU, but torch {torch.__version__} can use none"
    return reason


def _older_driver() -> str | None:
    """Returns a sentence if torch can use no GPU, because NVIDIA's driver is older than torch's CUDA."""
    major, minor = divmod(torch.ops.pixelrnn_ext.driver_version(), 1000)
    # Within a major version, an older driver runs programs of a newer CUDA.
    if not torch.version.cuda or major >= int(torch.version.cuda.split(".")[0]):
        return None
    return (
        f"torch {torch.__version__} needs NVIDIA's driver for CUDA {torch.version.cuda}, found one for CUDA "
        f"{major}.{minor // 10}: update the driver, or install a torch for CUDA {major}"
    )


def instruction_set() -> str | None:
    """Returns the chosen instruction set. If Linux refuses AMX, :func:`bfloat16` says what computes in its place."""
    return _available[torch.ops.pixelrnn_ext.set_instruction_set(-1)] if _available else None


def instruction_sets() -> tuple[str, ...]:
    """Returns the CPU kernels' instruction sets that this machine supports, the best one last."""
    return _available


def _set_instruction_set(name: str, source: str) -> None:
    if name not in _available:
        has = ", ".join(_available) or f"none, since {_why_no_native}"
        raise ValueError(f"{source}: expected an instruction set of this machine ({has}), got {name!r}")
    torch.ops.pixelrnn_ext.set_instruction_set(_available.index(name))


def multiplies_bfloat16() -> bool:
    """Returns whether the CPU kernels multiply bfloat16. Otherwise they compute in float32, and round the results.

    The first call may ask Linux for AMX (csrc/cpu/instruction_set.cpp), so only computations in bfloat16 call this.
    """
    return _why_no_native is None and torch.ops.pixelrnn_ext.multiplies_bfloat16()


# Makes torch.compile treat the function's result as a constant. precision.py explains this attribute.
multiplies_bfloat16._dynamo_marked_constant = True  # type: ignore[attr-defined]


def bfloat16() -> str | None:
    """Says how the CPU kernels compute bfloat16, and why. None if there are no kernels."""
    chosen = instruction_set()
    if chosen is None:
        return None
    why_no_amx = torch.ops.pixelrnn_ext.why_no_amx()
    if chosen == "amx_bf16" and not why_no_amx:
        return "multiplied by amx_bf16"
    if multiplies_bfloat16():
        return f"multiplied by avx512_bf16 ({why_no_amx or 'AMX was not chosen'})"
    if chosen not in (_default, "amx_bf16"):
        why = f"{chosen} was chosen, which has no instructions for it"
    elif "avx512_bf16" in _available:
        why = f"on this processor that is faster than avx512_bf16; {why_no_amx}"
    else:
        why = "this processor has no AVX512-BF16"
    return f"converted to float32 ({why})"


def set_instruction_set(name: str) -> None:
    _set_instruction_set(name, "set_instruction_set")


def build_config() -> dict[str, object]:
    """Returns the versions, the compiler and the kernels of this build, and the reasons why kernels are missing.

    The call initialises NVIDIA's driver. After that, a process that is forked from this one cannot use CUDA.

    ``bfloat16`` says how a CPU computes bfloat16. ``cuda_left_out`` says which files of CUDA kernels did not compile
    for a GPU, why, and what runs in their place. It is None if all did. ``why_no_cuda`` is None if the CUDA kernels are
    loaded. ``why_no_gpu`` is None if they can run on a GPU of this machine. ``csrc`` is a hash of the kernels' sources.
    ``openmp`` tells whether torch's threads are an OpenMP team. Threads of another kind may not run at the same time,
    so with them a scan of few images uses fewer threads.
    """
    return {
        "version": VERSION,
        "torch": torch.__version__,
        "built_against_torch": BUILD["torch"],
        "native": _why_no_native is None,
        "why_no_native": _why_no_native,
        "compiler": BUILD.get("compiler"),
        "openmp": _threads_run_at_once(),
        "instruction_set": instruction_set(),
        "instruction_sets": _available,
        "bfloat16": bfloat16(),
        "cuda": BUILD["cuda"],
        "cuda_archs": BUILD["cuda_archs"],
        "cuda_left_out": BUILD.get("cuda_left_out"),
        "csrc": BUILD.get("csrc"),
        "why_no_cuda": why_no_cuda(),
        "why_no_gpu": why_no_gpu(),
    }


_default = instruction_set()
if _available and os.environ.get(_VARIABLE):
    _set_instruction_set(os.environ[_VARIABLE], _VARIABLE)
