"""The files that `make kernels` writes are those of csrc/cuda/variants.csv. tests/sass_model compares costs.h."""

from gpu_day import cost_table
from helpers.kernels import KERNEL_LIST, every_kernel, kernel_list

from . import tables

STALE = "expected the kernels of csrc/cuda/variants.csv: run `make kernels`"


def test_the_list_of_kernels_is_that_of_the_variants():
    assert KERNEL_LIST.read_text() == kernel_list(), STALE


def test_every_kernel_has_its_costs():
    assert [row.kernel for row in cost_table.read().rows] == [kernel.name for kernel in every_kernel()], STALE


def test_the_document_shows_what_the_planner_chooses(core):
    assert tables.DOCUMENT.read_text() == tables.document(core), STALE
