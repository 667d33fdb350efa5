"""Tests the host code of csrc/cuda on emulated GPUs with unusual properties, and kernels compiled by nvcc."""

import re

import pytest

from emulator import toolchain
from helpers.emulated import library
from helpers.scans import Problem

from ..gpus import Gpu, on_gpus

pytestmark = pytest.mark.emulated

a100, h100 = (on_gpus(where=lambda gpu, name=name: gpu == name) for name in ("sm_80", "sm_90"))


@pytest.mark.parametrize(
    ("arch", "path"),
    [("sm_80", "step"), ("sm_80", "resident"), ("sm_90", "step"), ("sm_90", "resident"), ("sm_90", "resident::2")],
)
def test_kernels_are_as_right_by_nvcc(arch, path):
    try:
        toolchain.nvcc()
    except toolchain.ToolchainError as error:
        pytest.skip(str(error))
    loaded = library.load(arch, by_nvcc=("resident_bf16", "step_kernels"))
    loaded.emulator.set_schedule("burst")
    Gpu(arch, loaded.ops, "cpu", loaded.emulator).compare(Problem("bf16", "bilstm", 16, (2, 5, 9), input=False), path)


@a100
@pytest.mark.parametrize("format", ["bf16", "fp16"])
def test_an_a100_has_weights_in_registers_and_in_shared_memory(format, gpu):
    problem = Problem(format, "bilstm", 128, (1, 28, 28), input=False)
    forward, backward = gpu.plan(problem)
    assert forward.startswith(f"forward_{format}_4s_4_512_single: 1 block an image, 512 threads")
    assert backward.startswith(f"backward_{format}_20s_0_256_single: 1 block an image, 256 threads")
    gpu.compare(problem)


def plans(gpu, hidden, size, images, format="fp32", path="resident"):
    return gpu.ops.describe_current_plan(2, images, size, size, hidden, 2, True, format, path)


@a100
def test_code_that_was_compiled_for_an_older_gpu_gets_what_that_one_has(gpu):
    """Kernels for clusters of thread blocks do not work in PTX for compute capability 8.0."""
    gpu.emulator.set_device("sm_90")
    for plan in plans(gpu, 192, 32, 16, "bf16", "auto"):
        assert plan.startswith("step path: ") and "without clusters" in plan
    assert all("1 block an image" in plan for plan in plans(gpu, 64, 32, 16, "bf16", "auto"))


# The host code must opt in to more than 48 KB of shared memory a block.
@h100
@pytest.mark.parametrize(("hidden", "blocks"), [(32, 1), (64, 1), (64, 4)], ids=["h32-C1", "h64-C1", "h64-C4"])
def test_a_kernel_with_static_shared_memory(hidden, blocks, gpu):
    gpu.emulator.add_static_shared_memory(20_000)
    gpu.compare(Problem("fp32", "bilstm", hidden, (1, 4, 6), input=False), f"resident::{blocks}")


def shared_memory(plan):
    return int(re.search(r"(\d+) bytes of shared memory", plan)[1])


@h100
def test_the_plan_leaves_room_for_static_shared_memory(gpu):
    limit = 227 << 10
    before = [shared_memory(plan) for plan in plans(gpu, 64, 28, 16)]
    gpu.emulator.add_static_shared_memory(limit - max(before) + 1)
    assert all(shared_memory(plan) < max(before) for plan in plans(gpu, 64, 28, 17))
    gpu.emulator.add_static_shared_memory(limit - 100)
    assert all(plan.startswith("step path: the GPU has no room for the blocks") for plan in plans(gpu, 64, 28, 18))


@h100
def test_the_plan_counts_the_clusters_that_run_at_once(gpu):
    """If 32 clusters of 8 blocks cannot run at once, clusters of 4 blocks are faster."""
    assert ": 4 blocks an image" in plans(gpu, 128, 64, 16)[0]
    # A cluster runs in one GPC, a group of multiprocessors. A GPC of 7 multiprocessors with one block each holds no
    # cluster of 8 blocks.
    for gpc, multiprocessors, blocks in ((8, 256, 8), (7, 252, 4)):
        gpu.emulator.set_device("sm_90", multiprocessors, gpc)
        assert f": {blocks} blocks an image" in plans(gpu, 128, 64, 16)[0]
    gpu.emulator.set_device("sm_90", 128, 2)
    assert all(plan.startswith("step path: the GPU has no room for") for plan in plans(gpu, 128, 64, 16))
