"""Builds the emulated operators and loads them as a namespace that has everything of torch.ops.pixelrnn_ext.

Each (architecture, front end, checks) is a namespace of its own, so that they live side by side in one process.
"""

from functools import cache
from pathlib import Path
from types import SimpleNamespace

import torch
from torch.utils import cpp_extension

from emulator import toolchain
from emulator.control import Emulator
from pixelrnn_ext.operators import lstm2d, recurrence
from test_operators import SCAN_OPERATORS

ROOT = Path(__file__).resolve().parents[2]
CSRC = ROOT / "csrc"
KERNELS = sorted((CSRC / "cuda").glob("*.cu"))
HOST = [
    *sorted((CSRC / "cuda").glob("*.cpp")),
    *(file for file in sorted((CSRC / "operators" / "cuda").glob("*.cpp")) if file.name != "module.cpp"),
    ROOT / "tests" / "emulated" / "kernels.cpp",
]


def build(arch="sm_90", front_end="ptx", checks="race"):
    """The path of the library, and its namespace."""
    namespace = f"pixelrnn_{arch}_{front_end}_{checks}"
    path = toolchain.library(
        namespace,
        kernels=KERNELS,
        host=HOST,
        front_end=front_end,
        arch=arch,
        checks=checks,
        host_flags=[
            *(f"-I{folder}" for folder in (CSRC, *cpp_extension.include_paths())),
            *("-DPIXELRNN_EMULATED", f"-DPIXELRNN_NAMESPACE={namespace}", "-DTORCH_TARGET_VERSION=0x020b000000000000"),
        ],
        link_flags=[f"-L{path}" for path in cpp_extension.library_paths()] + ["-ltorch", "-ltorch_cpu", "-lc10"],
    )
    return path, namespace


def load(arch="sm_90", front_end="ptx", checks="race"):
    """The namespace's operators (`ops`) and the emulator's controls (`emulator`)."""
    return _load(arch, front_end, checks)  # the same, however they are named


@cache
def _load(arch, front_end, checks):
    path, namespace = build(arch, front_end, checks)
    torch.ops.load_library(path)
    fragment = torch.library.Library(namespace, "FRAGMENT")
    for name in (*SCAN_OPERATORS, "lstm2d_scan", "lstm2d_gradients"):
        schema = str(getattr(torch.ops.pixelrnn_ext, name).default._schema)
        fragment.define(schema.removeprefix("pixelrnn_ext::"))
    for operators in (recurrence, lstm2d):
        operators.gpu.register(namespace, "cpu")
        operators.rules.register_rules(namespace)
    emulator = Emulator(path)
    emulator.device(arch)
    return SimpleNamespace(ops=getattr(torch.ops, namespace), emulator=emulator, fragment=fragment)
