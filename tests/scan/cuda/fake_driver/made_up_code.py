"""Builds a release's table of device code from made-up kernels, which have no instructions."""

import struct
from itertools import accumulate
from pathlib import Path

from emulator import build_cache
from helpers.nvrtc import device_code
from kernel_costs.kernel_list import FORMATS, every_kernel

# Compute capabilities of a release for AArch64 (RELEASED in setup.py).
GPUS = ["7.5", "8.0", "8.6", "8.7", "9.0+PTX", "10.0", "12.0+PTX"]
TYPES = "float32", "float64", "float16", "bfloat16"
KERNELS = {
    "resident": [kernel.name for kernel in every_kernel()] + [f"{p}_{f}" for p in ("pack", "pack5") for f in FORMATS],
    "others": [f"step_{p}_{t}_{gates}" for p in ("forward", "backward") for t in TYPES for gates in (4, 5)]
    + [f"border_sums_{t}" for t in TYPES]
    + [f"neighbours_{size}" for size in (2, 4, 8, 16)],
}

# The C structs Elf64_Ehdr and Elf64_Shdr.
FILE, SECTION = struct.Struct("<16sHHIQQQIHHHHHH"), struct.Struct("<IIQQQQIIQQ")
CUDA = 190  # e_machine of CUDA code


def machine_code(capability, kernels):
    """Returns an ELF file with a section for each kernel."""
    names = [f".text.{kernel}\0".encode() for kernel in kernels]
    new, sections = capability >= 100, len(names) + 2
    identity = b"\x7fELF" + bytes([2, 1, 1, 0, 8 if new else 7])
    flags = capability << 8 if new else capability
    head = FILE.pack(identity, 0, CUDA, 0, 0, 0, FILE.size, flags, 0, 0, 0, 0, sections, 1)
    texts = [SECTION.pack(0, 0, 0, 0, FILE.size + sections * SECTION.size, 0, 0, 0, 0, 0)]
    texts += [SECTION.pack(place, *[0] * 9) for place in accumulate(map(len, names[:-1]), initial=1)]
    return b"".join([head, bytes(SECTION.size), *texts, b"\0", *names])


def ptx(capability, kernels):
    text = "".join(f".visible .entry {kernel}(\n)\n{{\n}}\n" for kernel in kernels)
    return f".version 8.8\n.target sm_{capability}\n{text}".encode()


class Compiler:
    """Replaces the compiler NVRTC, and compiles the made-up KERNELS.

    The resident kernels do not compile for the capabilities in ``broken``, and their PTX for the negative ones is one
    that the driver cannot compile.
    """

    path, version, archs = Path(__file__), "12.9", {"75", "80", "86", "87", "90", "100", "120"}

    def __init__(self, broken):
        self.broken = broken

    def compile(self, source, arch, flags):
        capability, kernels = int(arch.removeprefix("sm_")), KERNELS[source.stem]
        if source.stem == "resident" and capability in self.broken:
            raise RuntimeError(f"{source}: ptxas fatal : (C7907) Internal compiler error.")
        target = 130 if source.stem == "resident" and -capability in self.broken else capability
        return machine_code(capability, kernels), ptx(target, kernels), ""


def table(broken=()):
    known = build_cache.hash_of(*build_cache.content_hashes([__file__, device_code.__file__]), KERNELS, broken)
    folder = build_cache.folder() / f"made_up_code-{known}"
    with build_cache.locked(folder.name):
        (folder / "cuda").mkdir(parents=True, exist_ok=True)
        for name in KERNELS:
            (folder / "cuda" / f"{name}.cu").touch()
        return device_code.build_table(Compiler(broken), GPUS, folder, folder, left_out=[] if broken else None)
