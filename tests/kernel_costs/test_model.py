import pytest

from helpers import nvrtc
from helpers.root import ROOT
from kernel_costs import compiler, cost_table, flow, model, modelled, sass
from kernel_costs.kernel_list import every_kernel


def test_a_table_is_read_as_it_was_written(tmp_path):
    cost = cost_table.Cost
    columns = tuple(cost(100 * w, 10 * w, w) for w in cost_table.WARPS)
    table = cost_table.Table(
        "a model, NVRTC 12.9.86",
        (cost_table.Row("k1", (1, 2, 3, 4), columns), cost_table.Row("k2", (5, 6, 7, 8), columns)),
    )
    cost_table.write(table, tmp_path / "costs.h")
    assert cost_table.read(tmp_path / "costs.h") == table
    assert cost_table.text(cost_table.read()) == cost_table.PATH.read_text()
    # The two measured costs of kernel k1 are on average 1.25 times the modelled costs. The factor 1.25 scales all costs
    # that were not measured.
    scaled = table.scaled("GPU", {("k1", 2): (300, 200), ("k1", 4): (400, 400)})
    assert scaled.source == "measurements on GPU"
    assert [c.line for c in scaled.rows[0].costs] == [125, 300, 400, 1000]
    assert scaled.rows[1].costs == tuple(c.times(1.25) for c in columns)


# (kernel, warps on a scheduler, tiles of a warp, cells of a thread, largest allowed cycles of a line)
REACHED = [
    ("forward_bf16_2_1_256_single", 2, 1, 0, 647),  # MNIST, 16 hidden units
    ("forward_tf32_2_1_256_single", 2, 1, 0, 600),
    ("backward_bf16_4_4_256_single", 1, 1, 0, 545),
    # The layout in segments costs the clusters here up to 0.9 %, within the 2 % that were accepted for eight times
    # fewer segments.
    ("forward_bf16_4_1_256_cluster", 1, 1, 0, 743),  # 28 x 28 pixels, 64 hidden units, 8 blocks
    ("forward_bf16_8_4_256_cluster", 2, 1, 0, 1101),  # CIFAR, 128 hidden units, 8 blocks
    ("forward_tf32_8s_1_256_cluster", 2, 1, 0, 1547),
    ("forward_bf16_8_1_256_images", 2, 1, 0, 2374),
    ("backward_bf16_4_1_512_cluster", 4, 1, 0, 1294),
    ("backward_bf16_20s_0_256_single", 2, 4, 8, 8898),  # CIFAR, 128 hidden units, 1 block
]


@pytest.mark.parametrize(("kernel", "warps", "tiles", "cells", "reached"), REACHED)
def test_no_line_takes_longer_than_it_did(kernel, warps, tiles, cells, reached):
    table = cost_table.read()
    if not table.source.startswith("a model"):
        pytest.skip("the bounds are for modelled cycles, and costs.h has measured ones")
    costs = next(row.costs for row in table.rows if row.kernel == kernel)
    cost = costs[cost_table.WARPS.index(warps)]
    assert cost.line + tiles * cost.tile + cells * cost.cell <= reached


# {(costly operation, part of a kernel's name): why such a kernel may have the operation}
ALLOWED = {
    **dict.fromkeys(
        (("invalidation of L1", "_cluster"), ("invalidation of L1", "_images")),
        "a wait for stores of peers is acquire.cluster, as the memory model requires",
    ),
    ("divergent region", ""): "one lane waits for its warp, some lanes store to peers: see DIVERGENT",
}

# The largest number of divergent regions that a kernel may have in its loop over lines. The dictionary is {(pass,
# gates, kind of launch): {n: (number on tensor cores, number in fp32)}}. n is the number of tiles of a warp in a
# forward kernel, or the number of hidden units of a thread in a backward kernel.
DIVERGENT = {
    ("backward", 4, "cluster"): {0: (5, 6), 1: (2, 0), 2: (3, 0), 4: (3, 0)},
    ("backward", 4, "single"): {0: (4, 4), 4: (1, 0)},
    ("backward", 5, "cluster"): {0: (5, 6)},
    ("backward", 5, "single"): {0: (3, 4), 4: (4, 0)},
    ("forward", 4, "cluster"): {1: (2, 7), 2: (3, 0), 4: (19, 27)},
    ("forward", 4, "images"): {1: (4, 0)},
    ("forward", 4, "single"): {1: (0, 0), 2: (0, 0), 4: (13, 12)},
    ("forward", 5, "cluster"): {1: (6, 8), 4: (19, 37)},
    ("forward", 5, "single"): {1: (3, 4), 4: (17, 24)},
}


def kernel_of(source, name):
    [made] = nvrtc.compile_kernels([ROOT / source])
    return sass.kernels(made.cubin)[name]


@pytest.mark.emulated
@pytest.mark.xdist_group("the model's compiler")
def test_no_line_holds_what_it_should_do_without():
    found, pinned = {}, compiler.version() == compiler.PINNED
    for kernel in every_kernel():
        source = f"csrc/cuda/scan/resident{'5' * (kernel.gates == 5)}_{kernel.format}.cu"
        facts, one_pass = flow.facts(kernel_of(source, kernel.name)), "backward" if kernel.backward else "forward"
        most = DIVERGENT[one_pass, kernel.gates, kernel.kind][kernel.tiles_or_units][kernel.format == "fp32"]
        assert not pinned or facts["divergent region"] <= most, kernel.name
        for fact, count in facts.items():
            if count and not any(fact == allowed and part in kernel.name for allowed, part in ALLOWED):
                found[kernel.name, fact] = count
    assert found == {}


@pytest.mark.emulated
@pytest.mark.xdist_group("the model's compiler")
def test_the_committed_table_is_what_the_model_writes():
    """Checks that the table of costs in csrc/cuda/scan/costs.h is the table that the model writes.

    If the costs were measured on a GPU, they differ from the model's costs. Then the test compares only the names and
    the registers of the kernels.
    """
    if compiler.version() != compiler.PINNED:
        pytest.skip(f"the table is for NVRTC {compiler.PINNED}, this is {compiler.version()}")
    made = nvrtc.compile_kernels(modelled.SOURCES)
    resources = {arch: nvrtc.resources_and_cubins(arch)[0] for arch in cost_table.ARCHITECTURES}
    committed, now = cost_table.read(), modelled.table([files.cubin for files in made], resources)
    if committed.source.startswith("a model"):
        assert cost_table.text(committed) == cost_table.text(now), "expected another costs.h: run `make kernels`"
    else:
        assert [row[:2] for row in committed.rows] == [row[:2] for row in now.rows]


@pytest.mark.emulated
@pytest.mark.xdist_group("the model's compiler")
def test_the_first_generation_fails():
    first = kernel_of("tests/kernel_costs/first_generation.cu", "first_generation")
    assert {fact for fact, count in flow.facts(first).items() if count == 0} == set()
    now = next(row for row in cost_table.read().rows if row.kernel == "forward_bf16_4_1_256_cluster")
    assert model.walk(first).cycles > 2 * now.costs[0].line
