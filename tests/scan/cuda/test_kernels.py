"""Tests every resident kernel against the CPU operators in float64.

On the emulator a launch also fails if the race checker finds a fault.
"""

import pytest
import torch

from helpers.checks import assert_close
from helpers.scans import OPS, Problem

from .gpus import MAX_BLOCKS, all_formats, on_gpus, on_gpus_with_paths, on_gpus_with_variants
from .kernel_paths import SMALLEST_HIDDEN, variant_problem


@pytest.mark.parametrize("geometry", ["bilstm", "diagonal-reverse", "row3"])
@on_gpus_with_variants(gates=4)
def test_every_kernel(format, suffix, blocks, geometry, gpu):
    images = 3 if blocks < 4 else 1
    if suffix.endswith("_images") and geometry != "bilstm":
        images = 5  # two clusters, of four images and of one image
    gpu.compare_schedules(*variant_problem(gpu, 4, format, suffix, blocks, geometry, images))


@on_gpus_with_variants(gates=5)
def test_every_kernel_of_five_gates(format, suffix, blocks, gpu):
    gpu.compare_schedules(*variant_problem(gpu, 5, format, suffix, blocks, "stable", images=2 if blocks < 8 else 1))


# Clusters of 8 blocks take long on the emulator, and run the same code as smaller clusters.
@on_gpus_with_variants(gates=5, where=lambda gpu, blocks: blocks < 8 or gpu == "real")
def test_every_kernel_of_five_gates_with_images_of_their_own_sizes(format, suffix, blocks, gpu):
    gpu.compare_schedules(*variant_problem(gpu, 5, format, suffix, blocks, "stable", images=2, sizes=[(12, 5), (5, 7)]))


@on_gpus_with_paths("resident", "resident::2")
@pytest.mark.parametrize("layer", ["pixelrnn", "stable"])
@all_formats
def test_nan_stays_where_it_belongs_and_large_values_saturate(format, layer, path, gpu):
    p = Problem(format, layer, 16, (1, 9, 10), corners=(0, 1), input=False)
    x, largest = p.inputs["x"][..., :64].unflatten(-1, (16, 4)), torch.finfo(p.dtype).max
    x[0, 0, 4, 4, 3, 1] = torch.nan
    x[1, 0, 8, 0, 2], x[1, 0, 3, 3, 1] = torch.inf, -torch.inf
    x[0, 0, 0, 0, 5] = torch.tensor([-200, 200, -largest, 200])
    x[0, 0, 1, 1, 6] = torch.tensor([200, -200, 200, -200])
    expected = OPS.scan(*p.scan(torch.float64))[1:]
    got = gpu.ops.recurrence(*p.scan(path=path, device=gpu.device))
    for name, a, b in zip(("h", "c", "gates"), expected, got):
        is_nan = a.isnan()
        assert is_nan.any() and torch.equal(is_nan, b.cpu().isnan()), name
        assert_close(name, a[~is_nan], b.cpu()[~is_nan], gpu.bound(name, format))


@on_gpus(["blocks"], [(2,), (4,), (8,)], where=lambda gpu, blocks: blocks <= MAX_BLOCKS[gpu])
def test_blocks_may_leave_before_their_peers(blocks, gpu):
    p = Problem("bf16", "bilstm", SMALLEST_HIDDEN[blocks], (16, 2, 2), merge="none", input=False)
    s, dh = p.scan(path=f"resident::{blocks}", device=gpu.device), p.cotangent.to(gpu.device)

    def launch():
        h, c, gates = gpu.ops.recurrence(*s)
        return h, c, gates, *gpu.ops.recurrence_backward(dh, c, gates, *s)

    first = launch()
    for _ in range(2 if gpu.emulator else 200):
        assert all(map(torch.equal, first, launch()))


@pytest.mark.parametrize("format", ["bf16", "fp16"])
@on_gpus(where=lambda gpu: MAX_BLOCKS[gpu] == 8)
def test_images_that_share_a_cluster_have_the_bits_of_one_alone(format, gpu):
    """The last cluster has two of four images. A NaN must stay in its image."""
    p = Problem(format, "diagonal-reverse", 128, (6, 18, 3), input=False)
    shared, alone = "resident:8_1_256_images:8:3", "resident:8_4_256:8:3"
    assert gpu.plan(p, shared)[0].startswith(f"forward_{format}_8_1_256_images: 8 blocks for 4 images")
    assert gpu.plan(p, alone)[0].startswith(f"forward_{format}_8_4_256_cluster: ")

    def run(path):
        h, c, gates = gpu.ops.recurrence(*p.scan(path=path, device=gpu.device))
        return h, c[0], gates[0]

    expected = run(alone)
    assert all(map(torch.equal, expected, run(shared)))
    p.inputs["x"][0, 2, 3, 1, 70] = torch.nan
    others = [0, 1, 3, 4, 5]
    got = run(shared)
    assert all(torch.equal(a[others], b[others]) for a, b in zip(expected, got)) and got[0][2].isnan().any()
