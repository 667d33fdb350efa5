import pytest
from hypothesis import given
from hypothesis import strategies as st

SIZES = st.one_of(st.just(1), st.integers(1, 12))
SHIFTS = st.integers(-13, 13)
each_geometry = pytest.mark.parametrize("diagonal", [False, True], ids=["row", "diagonal"])


class Scan:
    """A Geometry of csrc/geometry.h, and an independent computation of its cells' pixels.

    A line of the scan is a row or an anti-diagonal. The map is ``beyond`` pixels wider than the image.
    """

    def __init__(self, core, diagonal, height, width, mirrored, bottom=False, beyond=0):
        self.stride = width + beyond
        make = core.Geometry.diagonal if diagonal else core.Geometry.row
        self.geometry = make(height, width, mirrored, bottom, self.stride)
        self.height, self.width, self.diagonal = height, width, diagonal
        self.mirrored, self.bottom = mirrored, bottom

    def place(self, line, cell):
        return (cell, line - cell) if self.diagonal else (line, cell)

    def is_pixel(self, row, column):
        return 0 <= row < self.height and 0 <= column < self.width

    def pixel(self, row, column):
        row = self.height - 1 - row if self.bottom else row
        return row * self.stride + (self.width - 1 - column if self.mirrored else column)

    def addresses(self):
        return [(t, r) for t in range(-2, self.geometry.lines + 2) for r in range(-2, self.geometry.cells + 2)]


CORNERS = {"mirrored": st.booleans(), "bottom": st.booleans()}
SCANS = {"diagonal": st.booleans(), "height": SIZES, "width": SIZES, "beyond": st.integers(0, 3)} | CORNERS


@given(**SCANS)
def test_active_cells_are_the_pixels_and_a_window_of_each_line(core, **scan):
    s = Scan(core, **scan)
    g = s.geometry
    active = [(t, r) for t, r in s.addresses() if g.is_active(t, r)]
    assert active == [(t, r) for t, r in s.addresses() if s.is_pixel(*s.place(t, r))]
    assert [g.pixel(t, r) for t, r in active] == [s.pixel(*s.place(t, r)) for t, r in active]
    image = [row * s.stride + column for row in range(s.height) for column in range(s.width)]
    assert sorted(g.pixel(t, r) for t, r in active) == image
    for t in range(g.lines):
        assert 0 <= g.first(t) < g.end(t) <= g.cells
        assert [g.is_active(t, r) for r in range(g.cells)] == [g.first(t) <= r < g.end(t) for r in range(g.cells)]
    assert g.end(-1) == g.end(g.lines) == 0


@given(**SCANS, up=SHIFTS, left=SHIFTS)
def test_a_neighbour_is_a_fixed_number_of_lines_and_cells_away(core, up, left, **scan):
    s = Scan(core, **scan)
    g, d = s.geometry, core.Displacement(up, left)
    for t, r in s.addresses():
        if not g.is_active(t, r):
            continue
        row, column = s.place(t, r)
        neighbour = t - g.lag(d), r + g.shift(d)
        assert g.is_active(*neighbour) == s.is_pixel(row - up, column - left)
        if g.is_active(*neighbour):
            assert g.pixel(*neighbour) == s.pixel(row - up, column - left)


@given(**SCANS, half=st.integers(0, 3))
def test_states_come_from_earlier_lines_and_earlier_pixels(core, half, **scan):
    s = Scan(core, **scan)
    taps = 2 if s.diagonal else 2 * half + 1
    places = [(tap.up, tap.left) for tap in (core.state_tap(s.diagonal, taps, k) for k in range(taps))]
    expected = [(1, 0), (0, 1)] if s.diagonal else [(1, left) for left in range(half, -half - 1, -1)]
    assert places == expected
    for up, left in places:
        # Each neighbour that a cell reads must lie on the previous line, because the kernels keep the hidden states of
        # only that line.
        assert s.geometry.lag(core.Displacement(up, left)) == 1
        assert up > 0 or (up == 0 and left > 0)
    carry = core.carry_tap(s.diagonal)
    assert (carry.up, carry.left) == places[-1 if s.diagonal else half]


@given(half=st.integers(0, 5))
def test_inputs_come_from_the_cells_row_from_left_to_right(core, half):
    taps = [core.input_tap(2 * half + 1, k) for k in range(2 * half + 1)]
    assert [(tap.up, tap.left) for tap in taps] == [(0, left) for left in range(half, -half - 1, -1)]


@each_geometry
@given(height=SIZES, width=SIZES, **CORNERS)
def test_all_directions_have_the_same_windows(core, diagonal, height, width, **corner):
    """At each place of a line, all scan directions or none must have a pixel, because one launch computes them all."""
    one, other = (Scan(core, diagonal, height, width, **at).geometry for at in ({"mirrored": False}, corner))
    assert (one.lines, one.cells) == (other.lines, other.cells)
    assert all(one.is_active(t, r) == other.is_active(t, r) for t in range(one.lines) for r in range(one.cells))


@each_geometry
@pytest.mark.parametrize(("height", "width"), [(0, 0), (0, 3), (3, 0)], ids=str)
@given(**CORNERS)
def test_an_image_without_pixels_has_no_lines(core, diagonal, height, width, **corner):
    s = Scan(core, diagonal, height, width, **corner, beyond=4)
    assert s.geometry.lines == 0 and not any(s.geometry.is_active(t, r) for t, r in s.addresses())
