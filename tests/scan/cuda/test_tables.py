"""Tests csrc/cuda/scan/kernel_list.h, the list of resident kernels, and the files that `make kernels` writes."""

import pytest

from kernel_costs import cost_table, modelled, plans
from kernel_costs.kernel_list import every_kernel, variants
from pixelrnn_ext.operators import library

from .gpus import fits_some_size

STALE = "expected the kernels of csrc/cuda/scan/kernel_list.h: run `make kernels`"


def test_a_name_says_where_the_weights_stay():
    for kernel in every_kernel():
        registers, shared = kernel.pairs
        assert kernel.held == f"{registers or ''}{'' if shared == 0 else 's'}", kernel.name


def test_every_kernel_has_its_costs():
    assert [row.kernel for row in cost_table.read().rows] == [kernel.name for kernel in every_kernel()], STALE


def test_one_variant_fits_no_hidden_size_and_all_others_run():
    """One kernel is never tested in clusters of eight blocks, because the weights do not fit in its registers.

    In such clusters the tests use at least 64 hidden units, and the kernel keeps the weights of all hidden units in
    registers.
    """
    everyone = [(gates, *variant) for gates in (4, 5) for variant in variants(gates)]
    assert [variant for variant in everyone if not fits_some_size(*variant)] == [(4, "tf32", "2_1_256", 8)]


def test_what_the_gpu_benchmark_measured_stays():
    table = cost_table.read()
    measured = table.scaled("a GPU", {(table.rows[0].kernel, 1): (200, 100)})
    lacks_one = measured._replace(rows=measured.rows[1:])
    assert modelled.with_measurements(table, table) == table
    merged = modelled.with_measurements(table, lacks_one)
    assert merged.source == "measurements on a GPU"
    assert merged.rows == (table.rows[0], *measured.rows[1:])


@pytest.mark.skipif(library.why_no_planner() is not None, reason=f"{library.why_no_planner()}")
def test_the_document_shows_what_the_planner_chooses():
    assert plans.DOCUMENT.read_text() == plans.document(), STALE
