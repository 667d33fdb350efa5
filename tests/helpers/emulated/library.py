"""Builds the emulated operators and loads them as a namespace that has everything of torch.ops.pixelrnn_ext.

Each (architecture, front end, checks, files by nvcc) is a namespace of its own, so that they live side by side in one
process. PIXELRNN_ONLY_KERNELS names kernels: the library then has no other resident ones, and is made in seconds.
"""

import os
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import torch
from torch.utils import cpp_extension

from emulator import build_cache, toolchain
from emulator.control import Emulator
from helpers import nvrtc
from helpers.kernels import source_of
from helpers.root import ROOT
from pixelrnn_ext.operators.scan import gpu, rules

CSRC = ROOT / "csrc"
KERNELS = sorted((CSRC / "cuda").glob("*.cu"))
ONLY = os.environ.get("PIXELRNN_ONLY_KERNELS", "").split()
HOST = [
    *(file for file in sorted((CSRC / "cuda").glob("*.cpp")) if file.name not in ("driver.cpp", "kernel_loader.cpp")),
    *(file for file in sorted((CSRC / "operators" / "cuda").glob("*.cpp")) if file.name != "module.cpp"),
    *(Path(__file__).with_name(name) for name in ("driver.cpp", "kernels.cpp")),
]


def build(arch="sm_90", front_end="ptx", checks="race", by_nvcc=()):
    """The path of the library, and its namespace. `by_nvcc`: the .cu files, by their stems, that nvcc compiles."""
    namespace = "_".join(("pixelrnn", arch, front_end, checks, *by_nvcc))
    kernels = [file for file in KERNELS if file.stem not in by_nvcc]
    if ONLY:
        few = build_cache.folder() / f"resident_{build_cache.hash_of(*ONLY)}.cu"
        build_cache.write(few, source_of(ONLY))
        kernels = [few, *(file for file in kernels if not file.stem.startswith("resident"))]
    path = toolchain.library(
        namespace,
        compiler=nvrtc.compiler(),
        kernels=kernels,
        by_nvcc=[file for file in KERNELS if file.stem in by_nvcc],
        host=HOST,
        front_end=front_end,
        arch=arch,
        checks=checks,
        # The folders of host_primitives.h and of kernels.cuh.
        flags=[f"-I{Path(__file__).parent}"] * (front_end == "source") + [f"-I{CSRC / 'cuda'}"] * bool(ONLY),
        host_flags=[
            *(f"-I{folder}" for folder in (CSRC, *cpp_extension.include_paths())),
            *("-DPIXELRNN_EMULATED", f"-DPIXELRNN_NAMESPACE={namespace}", "-DTORCH_TARGET_VERSION=0x020b000000000000"),
        ],
        link_flags=[f"-L{path}" for path in cpp_extension.library_paths()] + ["-ltorch", "-ltorch_cpu", "-lc10"],
    )
    return path, namespace


def load(arch="sm_90", front_end="ptx", checks="race", by_nvcc=()):
    """The namespace's operators (`ops`) and the emulator's controls (`emulator`)."""
    return _load(arch, front_end, checks, by_nvcc)  # the same, however they are named


@cache
def _load(arch, front_end, checks, by_nvcc):
    path, namespace = build(arch, front_end, checks, by_nvcc)
    torch.ops.load_library(path)
    fragment = torch.library.Library(namespace, "FRAGMENT")
    for name in ("scan", "scan_gradients"):
        schema = str(getattr(torch.ops.pixelrnn_ext, name).default._schema)
        fragment.define(schema.removeprefix("pixelrnn_ext::"))
    gpu.register(namespace, "cpu")
    rules.register_rules(namespace)
    emulator = Emulator(path)
    emulator.device(arch)
    return SimpleNamespace(ops=getattr(torch.ops, namespace), emulator=emulator, fragment=fragment)
