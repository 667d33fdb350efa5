"""Tests csrc/cuda/scan/tiling.h, which divides the matrix product of a scan's line into blocks, warps and tiles."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_costs.kernel_list import FORMATS, every_kernel

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
        "segments": blocks > 1 and draw(st.booleans()),
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
        chunks = core.pair_bytes // core.chunk_bytes
        offset = tap * s.stride(s.segments) + pair_of_tap * chunks * s.chunk_stride(s.segments)
        assert s.pair_offset(pair) == offset
    assert s.pair_offset(s.pairs() + 3) == s.pair_offset(s.pairs() - 1)


@given(layouts())
def test_neighbouring_rows_lie_in_different_banks(core, layout):
    """ldmatrix reads 16 bytes from each of eight rows, which should lie in different banks."""
    s = tiling(core, layout)
    row, chunk = s.stride(s.segments), s.chunk_stride(s.segments)
    assert len({cell * row % 128 for cell in range(8)}) == 8 and row % 16 == chunk % 16 == 0


def test_clusters_without_segments(core):
    found = set()
    for k in every_kernel():
        is_cluster = k.kind != "single"
        segments = core.pushes_segments(core.Format[k.format], k.gates, is_cluster, k.backward, k.tiles_or_units)
        assert is_cluster or not segments
        if is_cluster and not segments and k.gates == 4 and k.format != "fp32":
            found.add(f"{k.scan}_{k.format}_{k.suffix}")
    of_fp16 = "2_1_256", "4_1_256", "8_4_256", "8_1_256_images", "s_1_512", "s_4_512"
    any_cells = {f"backward_{format}_s_0_512" for format in ("bf16", "fp16", "tf32")}
    assert found == {f"forward_fp16_{suffix}" for suffix in of_fp16} | any_cells


@given(layouts())
def test_values_in_a_line_do_not_overlap(core, layout):
    s = tiling(core, layout)
    chunks = range(s.pairs_of_tap() * core.pair_bytes // core.chunk_bytes)
    stride, chunk_stride = s.stride(s.segments), s.chunk_stride(s.segments)
    places = {row * stride + chunk * chunk_stride for row in range(s.rows()) for chunk in chunks}
    assert len(places) == s.rows() * len(chunks) and max(places) + core.chunk_bytes <= s.line_bytes(s.segments)
    assert not s.segments or s.line_bytes(True) % core.segment_bytes == 0


@given(layouts())
def test_a_forward_chunk_of_a_tile_is_one_segment(core, layout):
    """A warp pushes 16 bytes of each of a tile's 8 cells to a block."""
    s = tiling(core, layout | {"backward": False, "segments": True})
    assert s.stride(True) == core.chunk_bytes and s.chunk_stride(True) % core.segment_bytes == 0
    assert (s.lead_bytes(True) + s.border() * s.stride(True)) % core.segment_bytes == 0


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


def place_of_part(s, cell, unit):
    if s.segments:
        return s.part_in_segments(cell, unit)
    return cell * s.part_stride() + unit // 4 * s.part_step() + unit % 4


@given(layouts(hidden=256))
def test_partial_sums_do_not_overlap(core, layout):
    """A block gets partial sums from each block of its cluster. A thread stores 4 units together."""
    s = tiling(core, layout | {"backward": True, "groups": 1, "tiles": 2})
    places = [[place_of_part(s, cell, unit) for unit in range(s.units)] for cell in range(s.cells())]
    to_rank = core.segment_bytes // 4 if s.segments else 4
    ranks = {place + rank * to_rank for row in places for place in row for rank in range(s.blocks)}
    assert len(ranks) == s.blocks * s.cells() * s.units and max(ranks) < s.part_floats(s.segments)
    assert all(row[unit] % 4 == 0 and row[unit + 3] == row[unit] + 3 for row in places for unit in range(0, s.units, 4))


@pytest.mark.parametrize("units", [8, 16, 32, 64])
def test_a_store_of_partial_sums_fills_segments_and_a_load_uses_all_banks(core, units):
    sizes = dict(hidden=8 * units, taps=2, blocks=8, tiles=2)
    s = core.Tiling(format=core.Format.bf16, backward=True, segments=True, **sizes)
    slice_units, segment = min(units, 32), core.segment_bytes // 4
    for odd in (0, 1):
        cells = range(8 + odd, 16, 2)
        stored = [place_of_part(s, cell, unit) for cell in cells for unit in range(slice_units)]
        assert len({place // segment for place in stored}) * segment == len(stored)
    # 32 threads load neighbouring units of the first or second half of a cell's, or of all its units.
    for loaded in (units // 2, units):
        cells = range(max(1, 32 // loaded))
        assert len({place_of_part(s, cell, unit) % 32 for cell in cells for unit in range(min(32, loaded))}) == 32


@given(layouts(hidden=256))
def test_a_tile_has_an_odd_cells_sums_where_the_address_of_the_even_cell_tells(core, layout):
    """The kernel computes the address of an odd cell's sums from the address of the even cell before it."""
    s = tiling(core, layout | {"backward": True, "segments": True, "tiles": 2})
    for cell in range(0, s.cells(), 2):
        for unit in range(s.units):
            even, odd = s.part_in_segments(cell, unit), s.part_in_segments(cell + 1, unit)
            assert odd == (even ^ s.odd_bits()) + 4 * s.units * s.blocks
            if cell + 8 < s.cells():
                assert s.part_in_segments(cell + 8, unit) == even + 8 * s.units * s.blocks


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
