"""Scans through one forced path of the CUDA kernels, for those who run them: tests/emulator or a GPU."""

import torch

from helpers.checks import assert_close
from helpers.kernels import kernels, variants
from helpers.scans import DTYPES, FAMILIES, REFERENCE, Problem

GEOMETRIES = "bilstm", "diagonal-reverse", "row3", "row1", "row5"
SMALLEST = {1: 16, 2: 16, 4: 32, 8: 64}  # hidden size that a cluster of so many blocks takes
# A map of two tiles on a line whose window starts and ends inside a tile; more columns than rows; rows of two tiles.
SHAPES = {"bilstm": (12, 9), "diagonal-reverse": (5, 13), "row3": (4, 11)}
NAMES = {
    (kernel.backward, kernel.format, kernel.suffix, blocks): kernel.name
    for kernel in kernels()
    for blocks in kernel.blocks
}
# 8 blocks have 64 units at least, which are 4 pairs of tf32 with one tap.
IMPOSSIBLE = {("tf32", "2_1_256", 8)}
VARIANTS = variants()
VARIANT_IDS = ["{}-{}-C{}".format(*variant) for variant in VARIANTS]
VARIANTS_5 = variants(5)
VARIANT_5_IDS = ["{}-{}-C{}".format(*variant) for variant in VARIANTS_5]


def pairs(kernel, hidden, taps, blocks):
    """Tiling::pairs() of csrc/cuda/tiling.h, for machines that compile nothing; test_tiling.py compares them."""
    values = kernel.gates * hidden // blocks if kernel.backward else hidden
    return taps * -(-values * DTYPES[kernel.format].itemsize // 64)


def hidden_sizes(kernel, blocks, taps):
    """Returns the hidden sizes that so many blocks take: the smallest one; where weights are both in registers and in
    shared memory, those that have both."""
    registers, shared = kernel.pairs
    if not registers or not shared:
        return [SMALLEST[blocks]]

    return [
        hidden
        for hidden in range(8 * blocks, 257, 8 * blocks)
        if registers < pairs(kernel, hidden, taps, blocks) <= registers + shared
    ]


def variant(ops, arch, format, suffix, blocks, geometry):
    """Returns a problem that this variant takes, its path and plans.

    The problem has other taps where the variant's registers hold no more, or fewer; it is None where nothing fits.
    """
    path, family = f"resident:{suffix}:{blocks}", FAMILIES[geometry]
    of_either_pass = [k for k in kernels() if (k.format, k.suffix) == (format, suffix) and blocks in k.blocks]
    images = 3 if blocks < 4 else 1
    if any(k.kind == "images" for k in of_either_pass) and len(family.corners) == 1:
        images = 5  # two clusters, of which the last one lacks three
    for name in (geometry, "row1", "row3"):
        # From the smallest to the largest; in a reversed scan the other way round, so that both run.
        for hidden in sorted(
            {size for kernel in of_either_pass for size in hidden_sizes(kernel, blocks, FAMILIES[name].taps)},
            reverse=family.corners == (1,),
        ):
            problem = Problem(format, name, hidden, (images, *SHAPES[geometry]), input=False)
            found = problem.plan(ops, arch, path)
            if not any(plan.startswith("step path: ") for plan in found):
                return problem, path, found
    assert (format, suffix, blocks) in IMPOSSIBLE, found
    return None, path, found


def variant5(format, suffix, blocks, images, **options):
    """Returns a problem from two corners that this variant of five gates takes, its path, and its kernels.

    Its lines have two tiles, and their window starts and ends inside a tile.
    """
    found = [k for k in kernels(5) if (k.format, k.suffix) == (format, suffix) and blocks in k.blocks]
    hidden = max(size for kernel in found for size in hidden_sizes(kernel, blocks, 2))
    problem = Problem(format, "stable", hidden, (images, 12, 5), corners=(1, 2), **options)
    return problem, f"resident:{suffix}:{blocks}", found


def check_names(format, suffix, blocks, plans):
    """A pass that has the variant takes it."""
    for backward, plan in enumerate(plans):
        if kernel := NAMES.get((bool(backward), format, suffix, blocks)):
            assert plan.startswith(f"{kernel}: {blocks} block"), plan


def compare_extremes(ops, device, format, path, ratio):
    """NaN stays in its own cells, infinite and very large values saturate, as in float64."""
    p = Problem(format, "bilstm", 16, (1, 9, 10), input=False)
    x, largest = p.inputs["x"].unflatten(-1, (16, 4)), torch.finfo(p.dtype).max
    x[0, 0, 4, 4, 3, 1] = torch.nan
    x[1, 0, 8, 0, 2], x[1, 0, 3, 3, 1] = torch.inf, -torch.inf
    x[0, 0, 0, 0, 5] = torch.tensor([-200, 200, -largest, 200])
    x[0, 0, 1, 1, 6] = torch.tensor([200, -200, 200, -200])
    expected = REFERENCE.scan(*p.scan(torch.float64))[1:]
    got = ops.recurrence(*p.scan(path=path, device=device))
    for name, a, b in zip(("h", "c", "gates"), expected, got):
        is_nan = a.isnan()
        assert is_nan.any() and torch.equal(is_nan, b.cpu().isnan()), name
        assert_close(name, a[~is_nan], b.cpu()[~is_nan], ratio)


def same_in_every_launch(ops, device, blocks, launches):
    """Scans of few lines, whose blocks leave while their peers still work: all launches agree to the bit."""
    p = Problem("bf16", "bilstm", SMALLEST[blocks], (16, 2, 2), merge="none", input=False)
    s, dh = p.scan(path=f"resident::{blocks}", device=device), p.cotangent.to(device)

    def launch():
        h, c, gates = ops.recurrence(*s)
        return h, c, gates, *ops.recurrence_backward(dh, c, gates, *s)

    first = launch()
    return all(torch.equal(a, b) for _ in range(launches) for a, b in zip(first, launch()))
