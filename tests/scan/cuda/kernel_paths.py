"""Makes scans that test one variant of the resident kernels, and the path (csrc/cuda/scan/path.h) that selects it.

A variant is (number format, suffix of the kernel's name, number of thread blocks that share an image).
"""

from helpers.scans import DTYPES, LAYER_OPTIONS, Problem
from kernel_costs.kernel_list import kernels

# (images, height, width) of feature maps. A row of more than 8 pixels needs several tiles.
MAPS = [(1, 1, 1), (2, 1, 6), (2, 7, 1), (3, 9, 3), (5, 3, 9), (1, 17, 5), (1, 4, 34)]
SMALLEST_HIDDEN = {1: 16, 2: 16, 4: 32, 8: 64}  # {blocks of a cluster: smallest hidden size in tests}
# {layer: (height, width) of an image}. Some rows and diagonals start or end inside a tile of 8 cells.
SHAPES = {"bilstm": (12, 9), "diagonal-reverse": (5, 13), "row3": (4, 11), "stable": (12, 5)}
OPTIONS = {4: dict(input=False), 5: dict(corners=(1, 2))}


def pairs(kernel, hidden, taps, blocks):
    values = kernel.gates * hidden // blocks if kernel.backward else hidden
    return taps * -(-values * DTYPES[kernel.format].itemsize // 64)


def hidden_sizes(kernel, blocks, taps):
    """Returns the hidden sizes with which a kernel is tested.

    A kernel may have fixed room for weights in registers, and further fixed room in shared memory. Such a kernel is
    tested with all hidden sizes up to 256 whose weights need both. Any other kernel is tested with the smallest hidden
    size of the tests, or with no size if the weights of this size do not fit in its registers.
    """
    registers, shared = kernel.pairs
    if registers and shared:
        sizes = range(8 * blocks, 257, 8 * blocks)
        return [h for h in sizes if registers < pairs(kernel, h, taps, blocks) <= registers + shared]
    fits = not registers or pairs(kernel, SMALLEST_HIDDEN[blocks], taps, blocks) <= registers
    return [SMALLEST_HIDDEN[blocks]] if fits else []


def variant_kernels(gates, format, suffix, blocks):
    return [k for k in kernels(gates) if (k.format, k.suffix) == (format, suffix) and blocks in k.blocks]


def variant_problem(gpu, gates, format, suffix, blocks, geometry, images, **options):
    """Returns a scan that all kernels of a variant can compute, and the path that selects the variant."""
    path, found = f"resident:{suffix}:{blocks}", variant_kernels(gates, format, suffix, blocks)
    for name in (geometry, "row1", "row3") if gates == 4 else (geometry,):
        sizes = {size for kernel in found for size in hidden_sizes(kernel, blocks, LAYER_OPTIONS[name].taps)}
        for hidden in sorted(sizes, reverse=geometry in ("diagonal-reverse", "stable")):
            problem = Problem(format, name, hidden, (images, *SHAPES[geometry]), **OPTIONS[gates] | options)
            plans = gpu.plan(problem, path)
            if not any(plan.startswith("step path: ") for plan in plans):
                for kernel in found:
                    assert plans[kernel.backward].startswith(f"{kernel.name}: {blocks} block"), plans
                return problem, path
    raise AssertionError(f"{path} takes none of the problems")
