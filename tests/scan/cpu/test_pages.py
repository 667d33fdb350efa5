import ctypes
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

KIB = 1 << 10
MAX_IDLE = 4096 * KIB


@pytest.fixture
def pages(core):
    return core.Pages(max_idle=MAX_IDLE)


def give_back(pages, blocks):
    for block in blocks:
        pages.give(block)
    return {address for address, _ in blocks}


# Requests to a cache of memory blocks: n > 0 requests n bytes, n < 0 frees a block.
STEPS = st.lists(st.one_of(st.integers(1, 6000 * KIB), st.integers(-9, -1)), max_size=40)


@given(steps=STEPS)
def test_blocks_in_use_are_apart_and_idle_ones_bounded(core, steps):
    pages, used, peak = core.Pages(max_idle=MAX_IDLE), [], 0
    for step in steps:
        if step > 0:
            address, size = pages.take(step)
            assert step <= size <= step * 9 / 8 + 80 * KIB
            assert all(address + size <= a or a + s <= address for a, s in used)
            ctypes.c_char.from_address(address).value = ctypes.c_char.from_address(address + step - 1).value = b"x"
            used.append((address, size))
        elif used:
            pages.give(used.pop(step % len(used)))
        in_use = sum(size for _, size in used)
        peak = max(peak, in_use)
        assert pages.used_bytes == in_use
        assert pages.idle_bytes <= MAX_IDLE
        assert peak == pages.peak_bytes
        assert in_use + pages.idle_bytes + pages.reclaimable_bytes <= 1.25 * pages.peak_bytes or step < 0
    give_back(pages, used)


def test_a_block_is_kept_for_the_next_of_its_size(pages):
    first = pages.take(1000 * KIB)
    pages.give(first)
    assert pages.take(1000 * KIB) == first
    pages.give(first)
    assert pages.take(950 * KIB)[0] == first[0]
    pages.give(first)
    assert pages.take(500 * KIB)[0] != first[0]


def test_a_step_s_maps_are_all_kept(pages):
    def step():
        first, *others = [pages.take(size * KIB) for size in (100, 101, 400)]
        pages.give(first)
        return give_back(pages, [*others, pages.take(200 * KIB)])

    assert step() == step()


def lazily_free():
    with open("/proc/self/smaps_rollup") as lines:
        return next(int(line.split()[1]) * KIB for line in lines if line.startswith("LazyFree:"))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_is_beyond_the_bound_is_kept_but_the_system_may_take_it(pages):
    small, large = pages.take(1000 * KIB), pages.take(2 * MAX_IDLE)
    ctypes.memset(large[0], 1, large[1])
    pages.give(small)
    before = lazily_free()
    pages.give(large)
    assert (pages.used_bytes, pages.idle_bytes, pages.reclaimable_bytes) == (0, small[1], large[1])
    assert lazily_free() - before > MAX_IDLE
    assert pages.take(1000 * KIB) == small
    assert pages.take(2 * MAX_IDLE) == large
    ctypes.memset(large[0], 2, large[1])
    assert ctypes.string_at(large[0], large[1]) == b"\2" * large[1]
    assert (pages.idle_bytes, pages.reclaimable_bytes) == (0, 0)
    assert lazily_free() <= before


def test_what_nobody_asks_for_gives_way(pages):
    give_back(pages, [pages.take((100 + 70 * n) * KIB) for n in range(9)])
    first, second = (give_back(pages, [pages.take(1200 * KIB) for _ in range(3)]) for _ in range(2))
    assert first == second


def test_where_the_system_has_no_more_nothing_changes(pages):
    block = pages.take(1000 * KIB)
    assert pages.take(1 << 60)[0] == 0
    assert (pages.used_bytes, pages.idle_bytes, pages.peak_bytes) == (block[1], 0, block[1])
