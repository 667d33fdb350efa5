"""What surrounds the matrix products of the gradients on a GPU (csrc/cuda/gradients.cuh), on the emulator: the states
that the taps read, sums over the border of the map, and the operators that are made of them, against float64."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from checks import assert_close
from emulated import library
from pixelrnn_ext.operators.recurrence import eager, gpu
from scans import GEOMETRIES

pytestmark = pytest.mark.emulated

# A map of one cell, one row, one column, narrower and wider than the widest row of taps.
MAPS = [(1, 1, 1), (2, 1, 6), (2, 7, 1), (1, 3, 2), (3, 5, 9)]
TYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
SCANS = {**GEOMETRIES, "row7-reverse": (False, 7, 2, True), "bilstm-reverse": (True, 2, 2, True)}


@pytest.fixture(params=["sm_80", "sm_90"])
def emulated(request):
    loaded = library.load(request.param)
    loaded.emulator.schedule("random", seed=3, preemption=20)
    return loaded


def moved(m, tap, taps, diagonal, mirrored, border=None):
    return eager.displaced(m, *eager.state_moves(diagonal, taps)[tap], mirrored, border)


@pytest.mark.parametrize("scan", SCANS)
@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_states_that_the_taps_read(dtype, scan, emulated):
    """Exactly: they are copies, of pieces of 2 to 16 bytes."""
    diagonal, taps, directions, reverse = SCANS[scan]
    for size in MAPS:
        for hidden, has_h0 in ((1, True), (6, False), (20, True), (16, True)):
            h = torch.randn(directions, *size, hidden).to(dtype)
            h0 = torch.randn(directions, hidden).to(dtype) if has_h0 else None
            border = torch.zeros(directions, hidden, dtype=dtype) if h0 is None else h0
            first, count = (1, taps - 2) if taps > 3 else (0, taps)
            got = emulated.ops.neighbour_states(h, h0, taps, first, count, diagonal, reverse)
            expected = [
                torch.stack(
                    [
                        moved(h[d], k, taps, diagonal, reverse != (d == 1), border[d])
                        for k in range(first, first + count)
                    ],
                    -2,
                )
                for d in range(directions)
            ]
            assert torch.equal(got, torch.stack(expected)), (size, hidden)


@pytest.mark.parametrize("scan", SCANS)
@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_sums_over_the_border(dtype, scan, emulated):
    diagonal, taps, directions, reverse = SCANS[scan]
    for size in MAPS:
        for hidden in (1, 40):
            dx = torch.randn(directions, *size, hidden, 4).to(dtype)
            inside = torch.ones(*size, 1, dtype=torch.float64)
            outside = torch.stack(
                [
                    torch.stack([1 - moved(inside, k, taps, diagonal, reverse != (d == 1)) for k in range(taps)])
                    for d in range(directions)
                ]
            )
            expected = torch.einsum("dbijug,dkbij->dbkug", dx.double(), outside[..., 0])
            got = emulated.ops.border_sums(dx, taps, diagonal, reverse)
            assert got.dtype == eager.state_dtype(dtype)
            assert_close("border sums", expected, got, 1e-14 if dtype == torch.float64 else 1e-6)
            assert torch.equal(got, emulated.ops.border_sums(dx, taps, diagonal, reverse))


@pytest.mark.parametrize("scan", SCANS)
@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_gradient_of_the_recurrent_weight(dtype, scan, emulated):
    diagonal, taps, directions, reverse = SCANS[scan]
    ratio = {torch.float64: 1e-14, torch.float32: 1e-6, torch.bfloat16: 5e-3, torch.float16: 1e-3}[dtype]
    for size in MAPS:
        for hidden, has_h0 in ((20, True), (6, False)):
            dx, h = (
                torch.randn(directions, *size, hidden, 4).to(dtype),
                torch.randn(directions, *size, hidden).to(dtype),
            )
            h0 = torch.randn(directions, hidden).to(dtype) if has_h0 else None
            rest = None, taps, 0, 1, True, diagonal, reverse
            expected = eager.line_scan_weight_grad(dx.double(), h.double(), None if h0 is None else h0.double(), *rest)
            got = emulated.ops.line_scan_weight_grad(dx, h, h0, *rest)
            for name, a, b in zip(("dweight", "dweight_ih", "dbias"), expected, got):
                assert_close(name, a, b, ratio)
                assert b.is_contiguous() and a.shape == b.shape
            assert all(torch.equal(a, b) for a, b in zip(got, emulated.ops.line_scan_weight_grad(dx, h, h0, *rest)))


class Launches(TorchDispatchMode):
    """The names of what runs, but views and allocations."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        if not function.is_view and name not in ("_unsafe_view", "new_zeros", "new_empty", "empty"):
            self.names.append(name)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize(("scan", "products"), [("bilstm", 1), ("row3", 1), ("row7-reverse", 2)])
def test_the_recurrent_weight_takes_one_kernel_and_one_product(scan, products, emulated):
    """For four taps, whose states are as large as dx; then a copy of the weight's size brings it into its order."""
    diagonal, taps, directions, reverse = SCANS[scan]
    dx, h, h0 = (
        torch.randn(directions, 2, 5, 9, 16, 4),
        torch.randn(directions, 2, 5, 9, 16),
        torch.randn(directions, 16),
    )
    with Launches() as launches:
        gpu.line_scan_weight_grad(emulated.ops, dx, h, h0, None, taps, 0, 1, False, diagonal, reverse)
    assert launches.names == ["neighbour_states", "bmm"] * products + ["cat"] * (products > 1) + ["clone"]


def test_the_initial_state_takes_one_kernel_and_one_product(emulated):
    maps, weight = torch.randn(2, 2, 5, 9, 16), torch.randn(2, 2, 16, 4, 16)
    h, c, gates = emulated.ops.recurrence(
        maps[..., None].expand(-1, -1, -1, -1, -1, 4), weight, None, None, True, False, "auto", False
    )
    state = torch.randn(2, 16)
    with Launches() as launches:
        gpu.line_scan_backward(emulated.ops, h, weight, state, state, c, gates, True, False)
    assert launches.names == ["recurrence_backward", "border_sums", "bmm", "sum"]
