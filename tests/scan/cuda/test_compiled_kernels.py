"""Tests the machine code of the CUDA kernels: register spills, bank conflicts, memory accesses and tensor cores."""

import re
from functools import cache

import pytest

from helpers import nvrtc
from helpers.emulated import library
from helpers.nvrtc import resources_and_cubins
from helpers.scans import Problem
from kernel_costs import sass
from kernel_costs.kernel_list import FORMATS, every_kernel
from kernel_costs.resources import ARCHITECTURES

from . import pushes

pytestmark = pytest.mark.emulated
each_arch = pytest.mark.parametrize("arch", ["sm_80", "sm_90"])

# {architecture: (number of kernels that may spill registers, spilled bytes that a thread may store)} for the compiler
# NVRTC 12.9. The compiler nvcc 13.0 spills no registers.
SPILLS = {"sm_100": (8, 20), "sm_120": (11, 52)}


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_no_kernel_spills(arch):
    found, _ = resources_and_cubins(arch)
    assert {kernel.name for kernel in every_kernel()} <= found.keys()
    spilled = {name: use for name, use in found.items() if use.stack or use.spill_stores or use.spill_loads}
    kernels, most = SPILLS.get(arch, (0, 0))
    assert len(spilled) <= kernels and all(use.spill_stores <= most for use in spilled.values()), spilled


def without_lines(ptx):
    lines = (line.strip() for line in ptx.partition("\n\t.file\t")[0].splitlines())
    return [line for line in lines if line and not line.startswith((".loc", "//"))]


def test_the_code_is_a_wheels():
    compiled = nvrtc.compile_kernels(library.KERNELS), nvrtc.compile_for_wheel("sm_90")
    for source, made, wheel in zip(library.KERNELS, *compiled):
        assert without_lines(made.ptx.read_text()) == without_lines(wheel.ptx.read_text())
        if source.stem not in ("resident_bf16", "step_kernels"):
            continue
        mine, wheels = sass.kernels(made.cubin), sass.kernels(wheel.cubin)
        assert mine.keys() == wheels.keys()
        for name, kernel in mine.items():
            code = [[(i.text, i.stall, i.write, i.read, i.wait) for i in k.code] for k in (kernel, wheels[name])]
            assert code[0] == code[1], name


def test_four_halves_are_loaded_as_whole_registers():
    """The compiler unpacks separate 16-bit values right after their load, so a prefetch would wait for memory."""
    for _, file, _ in nvrtc.compile_kernels(library.KERNELS, "sm_90"):
        if file.stem.startswith(("resident_bf16", "resident_fp16", "resident5_bf16", "resident5_fp16")):
            assert not re.search(r"(ld|st)\.global\S*\.v4\.[ub]16", file.read_text()), file.stem


# Tensor-core instructions: m16n8k16 for 16-bit formats, m16n8k8 for tf32.
INSTRUCTIONS = {"bf16": "HMMA.16816.F32.BF16", "fp16": "HMMA.16816.F32", "tf32": "HMMA.1688.F32.TF32", "fp32": None}


@cache
def functions(arch):
    _, cubins = resources_and_cubins(arch)
    return {name: kernel.code for cubin in cubins for name, kernel in sass.kernels(cubin).items()}


@each_arch
def test_tensor_core_instructions_are_there(arch):
    for kernel in every_kernel():
        if kernel.kind != "single" and arch == "sm_80":
            continue  # kernels for clusters are empty on sm_80
        found = {i.opcode for i in functions(arch)[kernel.name] if i.name == "HMMA"}
        assert found == {INSTRUCTIONS[kernel.format]} - {None}, kernel.name


@each_arch
@pytest.mark.parametrize("name", ["pack", "pack5"])
@pytest.mark.parametrize("format", FORMATS)
def test_the_packing_divides_nothing(format, name, arch):
    """The machine code must not contain the instructions that a division needs.

    A 64-bit division would be a call, which needs the instruction RET. A 32-bit division would need a reciprocal.
    """
    code = functions(arch)[f"{name}_{format}"]
    assert not {"RET", "I2F", "F2I", "MUFU", "LDL", "STL"} & {i.name for i in code}
    values = 8 if format in ("bf16", "fp16") else 4
    per_value = 27 if name == "pack5" else 22
    assert len(code) <= 2 * (120 + per_value * values)


TWO_PLACES = (
    "a thread's units lie in two places. With few units in a block, neither load reads whole sectors, "
    "but L1 keeps the rest of a sector for the second load."
)
SHARED_BANKS = "with fewer than 32 units in a block, values of two cells share banks. Padding would make {} conflict."
# {text in the source line: why its memory access may need extra transactions}
COSTLY = {
    "part[k]": SHARED_BANKS.format("the 16-byte stores to other blocks") + " Once a line.",
    "ptx::store(stores_here": "with fewer than 32 units in a block, two cells share banks. Once a tile.",
    "s.stride(segments)) = value": "h0 lies in chunks, which share banks. Once a scan.",
    "own_row + written": "in 32-bit formats the 8 units of a warp are two chunks, whose rows share banks. Once a tile.",
    "as_bits<Gradients>(own_row": SHARED_BANKS.format("the product's loads"),
    "c[n] = *as_bits": TWO_PLACES,
    "saved.dh[n] = *as_bits": TWO_PLACES,
    "(dc_first +": "a thread's units lie in two places. Once a scan.",
    "(a.c0)[": "c0 is not packed for the kernel. Once a scan.",
    "maps.h[to]": "8 units of a half are half a sector. Another warp has the other half. The L2 cache joins both.",
    "const Value weight = from[max(source, 0)]": "packing gathers the weights. Once a scan.",
}
PROFILED = [
    ("bf16", "4_1_256", 16, 1, "row3"),
    ("bf16", "8_4_256", 64, 4, "row3"),
    ("bf16", "16_0_256", 64, 1, "row1"),
    ("bf16", "20s_0_256", 64, 1, "row3"),
    ("fp16", "4_1_512", 128, 4, "row1"),
    ("bf16", "s_0_512", 128, 8, "row3"),
    ("tf32", "8_2_256", 32, 4, "row3"),
    ("tf32", "16_0_256", 32, 1, "row1"),
    ("tf32", "s_1_512", 96, 4, "row3"),
    ("fp32", "s_1_512", 32, 2, "row3"),
    ("fp32", "s_0_512", 64, 4, "row1"),
]


@pytest.mark.parametrize(("format", "suffix", "hidden", "blocks", "geometry"), PROFILED)
def test_no_avoidable_bank_conflict_and_no_wasted_sector(format, suffix, hidden, blocks, geometry):
    """Image rows fill whole tiles, so all lanes of a warp are active."""
    emulated = library.load("sm_90", "profile")
    emulated.emulator.set_schedule("forward")
    emulated.emulator.profile()
    problem = Problem(format, geometry, hidden, (1, 5, 16), input=False)
    problem.run(emulated.ops, problem.dtype, f"resident:{suffix}:{blocks}")
    products, costly = 0, []
    for cost in emulated.emulator.profile():
        # Primitives have the line of their caller.
        file, line = next(p for p in re.findall(r"(\w+\.cuh):(\d+)", cost.place) if p[0] != "primitives.cuh")
        in_product = "product.cuh" in cost.place and (cost.space, cost.kind) == ("shared", "load")
        products += in_product
        if cost.space != "peer" and cost.paid * 4 >= cost.ideal * 5:
            source = next((library.CSRC / "cuda").rglob(file)).read_text().splitlines()[int(line) - 1]
            if in_product or not any(text in source for text in COSTLY):
                costly.append(f"{cost}: {source.strip()}")
    assert products and costly == []


@pytest.mark.parametrize("name", pushes.CASES)
def test_blocks_push_nothing_to_themselves_and_whole_segments_if_planned(name):
    emulated, case = library.load("sm_90", "profile"), pushes.CASES[name]._replace(cells=8)
    emulated.emulator.set_schedule("forward")
    pushed, segments = pushes.count(emulated, case)
    value_bytes = 4 if case.backward or case.format == "tf32" else 2
    assert pushed == case.images * case.cells * (case.blocks - 1) * case.hidden // case.blocks * value_bytes
    assert segments == pushed / (16 if case.format == "fp16" else 128)
