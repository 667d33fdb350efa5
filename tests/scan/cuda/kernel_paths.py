"""Problems that one variant of the resident kernels takes, and the path that forces it."""

from helpers.kernels import kernels
from helpers.scans import DTYPES, FAMILIES, Problem

# Images, height, width: one cell, rows, columns, several tiles, more lines than cells and the other way round.
MAPS = [(1, 1, 1), (2, 1, 6), (2, 7, 1), (3, 9, 3), (5, 3, 9), (1, 17, 5), (1, 4, 34)]
SMALLEST = {1: 16, 2: 16, 4: 32, 8: 64}  # hidden size that a cluster of so many blocks takes
# A map of two tiles on a line whose window starts and ends inside a tile; more columns than rows; rows of two tiles.
SHAPES = {"bilstm": (12, 9), "diagonal-reverse": (5, 13), "row3": (4, 11), "stable": (12, 5)}
OPTIONS = {4: dict(input=False), 5: dict(corners=(1, 2))}  # by the gates of a unit


def pairs(kernel, hidden, taps, blocks):
    """Tiling::pairs() of csrc/cuda/tiling.h, for machines that compile nothing; test_tiling.py compares them."""
    values = kernel.gates * hidden // blocks if kernel.backward else hidden
    return taps * -(-values * DTYPES[kernel.format].itemsize // 64)


def hidden_sizes(kernel, blocks, taps):
    """Returns the hidden sizes that so many blocks take: the smallest one; where weights are both in registers and in
    shared memory, those that have both. None where the registers hold less than the smallest one."""
    registers, shared = kernel.pairs
    if registers and shared:
        sizes = range(8 * blocks, 257, 8 * blocks)
        return [h for h in sizes if registers < pairs(kernel, h, taps, blocks) <= registers + shared]
    fits = not registers or pairs(kernel, SMALLEST[blocks], taps, blocks) <= registers
    return [SMALLEST[blocks]] if fits else []


def of_variant(gates, format, suffix, blocks):
    """Returns the kernels of the variant: one, or one of each pass."""
    return [k for k in kernels(gates) if (k.format, k.suffix) == (format, suffix) and blocks in k.blocks]


def variant(gpu, gates, format, suffix, blocks, geometry, images, **options):
    """Returns a problem that a variant takes in every pass for which it has a kernel, and its path.

    The problem has other taps than the geometry where the variant's registers hold no more, or fewer.
    """
    path, found = f"resident:{suffix}:{blocks}", of_variant(gates, format, suffix, blocks)
    for name in (geometry, "row1", "row3") if gates == 4 else (geometry,):
        sizes = {size for kernel in found for size in hidden_sizes(kernel, blocks, FAMILIES[name].taps)}
        # From the smallest to the largest; in a reversed scan the other way round, so that both run.
        for hidden in sorted(sizes, reverse=geometry in ("diagonal-reverse", "stable")):
            problem = Problem(format, name, hidden, (images, *SHAPES[geometry]), **OPTIONS[gates] | options)
            plans = gpu.plan(problem, path)
            if not any(plan.startswith("step path: ") for plan in plans):
                for kernel in found:
                    assert plans[kernel.backward].startswith(f"{kernel.name}: {blocks} block"), plans
                return problem, path
    raise AssertionError(f"{path} takes none of the problems")
