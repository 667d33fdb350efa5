"""Tests csrc/cuda/tiling.h, which divides the matrix product of a scan's line into blocks, warps and tiles."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.kernels import FORMATS

from . import kernel_paths


@st.composite
def layouts(draw, hidden=1024):
    blocks = draw(st.sampled_from([1, 2, 4, 8]))
    return {
        "format": draw(st.sampled_from(FORMATS)),
        "backward": draw(st.booleans()),
        "hidden": 8 * blocks * draw(st.integers(1, max(1, hidden // (8 * blocks)))),
        "taps": draw(st.integers(1, 3)),
        "blocks": blocks,
        "groups": draw(st.integers(1, 8)),
        "tiles": draw(st.integers(1, 8)),
        "images": draw(st.sampled_from([1, 4])),
        "gates": draw(st.sampled_from([4, 5])),
    }


def tiling(core, layout):
    return core.Tiling(**layout | {"format": core.Format[layout["format"]]})


@given(layouts())
def test_matrix_rows_are_the_rows_of_the_product_in_whole_slices(core, layout):
    s = tiling(core, layout)
    # Zero rows fill the matrix up to a whole number of slices. A slice is the set of rows that one warp computes. The
    # number of zero rows must be less than `padding`. Forward kernels on tensor cores pad a unit's five gates to six,
    # which adds 8 zero rows to each slice.
    padding = s.slice_rows() if s.backward else 32 if s.fma() else 1 if s.gates == 4 else 8 * s.slices() + 1
    rows = s.hidden if s.backward else s.gates * s.units
    assert 0 <= s.slices() * s.slice_rows() - rows < padding
    assert 0 <= s.matrix_rows() - s.slices() * s.slice_rows() < (32 if s.fma() and s.gates == 5 else 1)
    assert s.threads() == 32 * s.slices() * s.groups


@given(layouts())
def test_a_backward_slice_has_each_of_its_units_once(core, layout):
    s = tiling(core, layout | {"backward": True})
    units = [s.unit_of_row(row) for row in range(s.matrix_rows())]
    for first in range(0, s.matrix_rows(), s.slice_rows()):
        end = first + s.slice_rows()
        assert sorted(units[first:end]) == list(range(first, end))
    if not s.fma():
        assert [units[row + 8] - units[row] for row in range(8)] == [1] * 8


@given(layouts())
def test_the_tests_count_pairs_alike(core, layout):
    s = tiling(core, layout)
    kernel = SimpleNamespace(backward=s.backward, format=layout["format"], gates=s.gates)
    assert s.pairs() == kernel_paths.pairs(kernel, s.hidden, s.taps, s.blocks)


@given(layouts())
def test_a_taps_values_are_padded_to_whole_pairs(core, layout):
    s = tiling(core, layout)
    assert s.tap_values() == (s.gates * s.units if s.backward else s.hidden)
    assert s.tap_width() * s.bytes() == s.pairs_of_tap() * core.pair_bytes
    assert 0 <= (s.tap_width() - s.tap_values()) * s.bytes() < core.pair_bytes
    assert s.pairs() == s.taps * s.pairs_of_tap()
    assert s.weight_bytes() == s.weight_values() * s.bytes() == s.matrix_rows() * s.pairs() * core.pair_bytes


@given(layouts())
def test_pairs_follow_each_other_in_a_row_and_taps_in_the_rows(core, layout):
    s = tiling(core, layout)
    for pair in range(s.pairs()):
        tap, pair_of_tap = divmod(pair, s.pairs_of_tap())
        assert s.pair_offset(pair) == tap * s.stride() + pair_of_tap * core.pair_bytes
    assert s.pair_offset(s.pairs() + 3) == s.pair_offset(s.pairs() - 1)


@given(layouts())
def test_neighbouring_rows_lie_in_different_banks(core, layout):
    """ldmatrix reads 16 bytes from each of eight rows, which should lie in different banks."""
    s = tiling(core, layout)
    assert len({row * s.stride() % 128 for row in range(8)}) == 8 and s.stride() % 16 == 0


@given(layouts(), st.integers(1, 40))
def test_a_tap_reads_the_row_of_its_neighbour(core, layout, width):
    s = tiling(core, layout)
    diagonal = s.taps == 2
    g = core.Geometry.diagonal(s.cells(), width) if diagonal else core.Geometry.row(width, s.cells())
    for tap in range(s.taps):
        # The backward pass reads at the opposite offsets (taps) of the forward pass, in reversed order.
        source = s.taps - 1 - tap if s.backward else tap
        shift = g.shift(core.state_tap(diagonal, s.taps, source)) * (-1 if s.backward else 1)
        for cell in (0, s.cells() - 1):
            assert cell + shift + s.border() == cell + tap and 0 <= cell + tap < s.rows()
    assert s.line_bytes() == s.rows() * s.stride()


@given(layouts(hidden=256))
def test_partial_sums_do_not_overlap(core, layout):
    """A block gets its cluster's partial sums as floats [cell][units / 4][block of the cluster][4 units]."""
    s = tiling(core, layout | {"backward": True, "groups": 1, "tiles": 1})
    places = [
        cell * s.part_stride() + four * s.part_step() + 4 * rank
        for cell in range(s.cells())
        for four in range(s.units // 4)
        for rank in range(s.blocks)
    ]
    assert len(set(places)) == len(places) and all(place % 4 == 0 for place in places)
    assert max(places) + 4 <= s.part_floats()


@given(layouts(), st.sampled_from([1, 2, 4]))
def test_a_pass_takes_as_many_cells_as_threads_have_units_for(core, layout, own):
    s = tiling(core, layout | {"backward": True})
    if s.threads() >= s.units:
        threads = s.cells_at_once(own) * (s.units // own)
        assert 0 <= s.threads() - threads < s.units // own


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
@given(layouts(hidden=40))
def test_the_packed_weights_are_all_weights_once(core, backward, layout):
    s = tiling(core, layout | {"backward": backward})
    sources = s.weight_sources()
    assert len(sources) == s.blocks * s.weight_values()
    assert sorted(source for source in sources if source != -1) == list(range(s.taps * s.gates * s.hidden**2))


@given(layouts(), st.data())
def test_a_weight_multiplies_what_the_tap_reads(core, layout, data):
    """Each weight must lie where the kernel multiplies it by the right value.

    In the forward pass, this value is a hidden unit of a neighbour. In the backward pass, this value is the gradient of
    a gate of the cell that reads the hidden unit.
    """
    s = tiling(core, layout)
    rank, row = data.draw(st.integers(0, s.blocks - 1)), data.draw(st.integers(0, s.matrix_rows() - 1))
    tap, value = data.draw(st.integers(0, s.taps - 1)), data.draw(st.integers(0, s.tap_width() - 1))
    source = s.weight_at(rank, row, tap, value)
    if source == -1:
        slices_end = row >= s.gates * s.units if s.fma() else row % s.slice_rows() >= 8 * s.gates
        assert value >= s.tap_values() or (s.unit_of_row(row) >= s.hidden if s.backward else slices_end)
        return
    rest, read = divmod(source, s.hidden)
    rest, gate = divmod(rest, s.gates)
    source_tap, unit = divmod(rest, s.hidden)
    assert unit // s.units == rank
    local = unit - rank * s.units
    index = 4 * local + gate if gate < 4 else 4 * s.units + local  # all fifth gates follow the other gates
    if s.backward:
        assert (source_tap, read) == (s.taps - 1 - tap, s.unit_of_row(row)) and index == value
    else:
        assert (source_tap, read) == (tap, value)
        assert row == (index if s.fma() else local // 8 * s.slice_rows() + 8 * gate + local % 8)


@given(layouts())
def test_the_packing_is_cut_into_whole_warps(core, layout):
    s = tiling(core, layout)
    size = core.PackSize(s)
    assert size.tiles * size.tile_rows == s.matrix_rows() and size.steps * size.step_values == s.taps * s.tap_width()
