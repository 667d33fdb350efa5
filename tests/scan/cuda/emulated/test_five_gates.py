"""The resident kernels of cells of five gates, executed on a CPU as in test_kernels.py, against the CPU operators in
float64."""

import pytest
import torch

from helpers.kernels import FORMATS
from helpers.scans import REFERENCE, Problem

from ..kernel_paths import VARIANTS_5, variant5
from .architectures import paths_on_each, variants_on_each
from .comparison import compare, compare_schedules

pytestmark = pytest.mark.emulated

ALL = (0, 1, 2, 3)
CELLS = ["stable", "graves", "halved", "leaky", "max"]


def problem5(format, cell, corners, hidden, maps, **options):
    """One whose result hangs on no rounding: Graves' state does not grow from line to line, and of two forget gates the
    larger one is larger by far."""
    problem = Problem(format, cell, hidden, maps, corners=corners, **options)
    bias = problem.inputs["bias"]
    if cell == "graves":
        bias[..., [1, 4]] -= 2
    elif cell == "max":
        bias[..., 4] += 8 * (-1) ** torch.arange(hidden)
    return problem


def compare_kernels(emulated, arch, format, suffix, blocks, images, sizes=None):
    problem, path, found = variant5(format, suffix, blocks, images, sizes=sizes)
    for kernel in found:
        assert problem.plan(emulated.ops, arch, path)[kernel.backward].startswith(f"{kernel.name}: {blocks} block")
    compare_schedules(problem, emulated, path)


@pytest.mark.parametrize("sizes", [None, [(12, 5), (5, 7)]], ids=["full", "ragged"])
@variants_on_each([variant for variant in VARIANTS_5 if variant[-1] < 8])
def test_every_kernel_in_every_schedule(format, suffix, blocks, sizes, arch, emulated):
    compare_kernels(emulated, arch, format, suffix, blocks, 2, sizes)


@variants_on_each([variant for variant in VARIANTS_5 if variant[-1] == 8])
def test_every_kernel_of_eight_blocks_in_every_schedule(format, suffix, blocks, arch, emulated):
    """Images that fill their maps: images end alike in clusters of any size, and these are the slowest."""
    compare_kernels(emulated, arch, format, suffix, blocks, 1)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("format", FORMATS)
def test_every_formula(format, cell, arch, emulated):
    """In single blocks and in clusters, by the kernels that a plan takes, from all corners."""
    for path in ("resident::1", "resident::2") if arch == "sm_90" else ("resident",):
        compare(problem5(format, cell, ALL, 16, (1, 10, 6)), emulated.ops, path)


MAPS = [(1, 1, 1), (1, 1, 9), (1, 9, 1), (1, 4, 21), (1, 34, 3)]


@pytest.mark.parametrize("maps", MAPS, ids="{0[1]}x{0[2]}".format)
@pytest.mark.parametrize("format", FORMATS)
def test_maps(format, maps, emulated):
    for cell, hidden, path in (("stable", 24, "resident"), ("max", 16, "resident:s_4_512:1")):
        compare(problem5(format, cell, (3,), hidden, maps, states=hidden == 16), emulated.ops, path)


# Larger than their map in either way, empty in either way, one pixel, a row, a column; and one that ends in a tile.
RAGGED = [(99, 99), (0, 5), (9, 0), (1, 1), (1, 5), (11, 1), (9, 4), (-1, 3)]


@paths_on_each("resident", "resident:s_4_512", "resident::2")
@pytest.mark.parametrize("format", FORMATS)
def test_images_of_their_own_sizes(format, path, arch, emulated):
    problem = problem5(
        format, "graves", ALL, 16, (len(RAGGED), 12, 5), sizes=[(min(h, 12), min(w, 5)) for h, w in RAGGED]
    )
    expected = problem.run(REFERENCE, torch.float64)
    problem.sizes = torch.tensor(RAGGED)
    compare(problem, emulated.ops, path, expected)


def test_an_image_of_its_own_size_has_the_bits_of_one_alone(emulated):
    p = Problem("bf16", "stable", 16, (2, 12, 5), corners=(0, 3), sizes=[(12, 5), (9, 4)])
    together = p.run(emulated.ops, p.dtype, "resident")
    alone = Problem("bf16", "stable", 16, (1, 9, 4), corners=(0, 3))
    alone.inputs = p.inputs | {"input": p.inputs["input"][1:, :9, :4].contiguous()}
    alone.cotangent = p.cotangent[1:, :9, :4].contiguous()
    got = alone.run(emulated.ops, p.dtype, "resident")
    for name in ("h", "dinput"):
        assert torch.equal(got[name], together[name][1:, :9, :4])


def test_nan_stays_in_the_cells_that_read_it(emulated):
    p = Problem("bf16", "stable", 16, (1, 10, 6))
    p.inputs["input"][0, 4, 3] = torch.nan
    _, h, c, gates = emulated.ops.scan(*p.scan(path="resident"))
    reads = torch.zeros(10, 6, dtype=torch.bool)
    reads[4:, 3:] = True
    assert torch.equal(h[0, :, :, 0].isnan().all(-1), reads) and torch.equal(h[0, :, :, 0].isnan().any(-1), reads)
    assert torch.equal(c[0, 0].isnan().any(-1), reads) and torch.equal(gates[0, 0].isnan().any(-1), reads)


def test_the_state_is_clipped(emulated):
    p = Problem("fp32", "max", 8, (1, 3, 4))
    p.inputs["c0"] = torch.full_like(p.inputs["c0"], 500)
    compare(p, emulated.ops, "resident")
