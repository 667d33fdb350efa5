"""The operators of a scan on the CUDA kernels, executed on a CPU as in test_kernels.py: the step path of every layer,
and what surrounds the matrix products of the gradients (csrc/cuda/gradients.cuh)."""

import pytest
import torch
from torch.library import opcheck
from torch.utils._python_dispatch import TorchDispatchMode

from helpers.checks import assert_close
from helpers.emulated import library
from helpers.scans import LAYOUTS, LSTM2D, REFERENCE, Problem
from pixelrnn_ext.operators.scan.arguments import OPERANDS, state_dtype

from ..borders import border_sums, neighbours_of
from .comparison import RATIO, compare

pytestmark = pytest.mark.emulated

ALL = (0, 1, 2, 3)
# A batch of unlike images, of which one is empty, one a row, one a column and one fills its map.
RAGGED = [(5, 7), (1, 6), (4, 1), (0, 3), (3, 4)]


@pytest.mark.parametrize("sizes", [None, RAGGED], ids=["full", "ragged"])
@pytest.mark.parametrize("layout", ["tr", "bl-sum", "bilstm", "four"])
@pytest.mark.parametrize("family", ["row1", "row3", "row5", *LSTM2D])
def test_step_path(family, layout, sizes, emulated):
    corners, merge = LAYOUTS[layout]
    problem = Problem("fp64", family, 5, (5, 5, 7), corners=corners, merge=merge, x=True, sizes=sizes)
    compare(problem, emulated.ops, "step")


@pytest.mark.parametrize("format", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("family", ["row3", "bilstm", "stable", "graves-peepholes", "leaky"])
def test_step_path_in_other_formats(family, format, emulated):
    compare(Problem(format, family, 6, (5, 5, 7), sizes=RAGGED), emulated.ops, "step")


@pytest.mark.parametrize("maps", [(2, 1, 1), (2, 1, 9), (1, 9, 1)], ids=str)
@pytest.mark.parametrize("family", ["pixelrnn", "stable", "max"])
def test_step_path_of_maps_of_a_row_or_a_column(family, maps, emulated):
    compare(Problem("fp32", family, 3, maps, corners=ALL, states=False), emulated.ops, "step")


@pytest.mark.parametrize("format", ["bf16", "tf32", "fp32"])
def test_four_gates_on_the_resident_path(format, emulated):
    """From all corners at once."""
    compare(Problem(format, "pixelrnn", 16, (3, 10, 13), corners=ALL), emulated.ops, "resident")


def test_the_resident_path_says_why_not(emulated):
    for family, options, why in (
        ("pixelrnn", dict(sizes=[(4, 4), (2, 3)]), "expected no sizes with a cell of four gates"),
        ("row3", dict(sizes=[(4, 4), (2, 3)]), "expected no sizes with a cell of four gates"),
        ("graves-peepholes", {}, "expected no peepholes"),
    ):
        problem = Problem("fp32", family, 16, (2, 4, 4), **options)
        with pytest.raises(RuntimeError, match=f"scan: the resident path cannot run: {why}"):
            problem.run(emulated.ops, torch.float32, "resident")
        compare(problem, emulated.ops, "auto")


def test_a_recurrence_takes_x_and_checks_the_rest(emulated):
    s = Problem("fp32", "bilstm", 16, (2, 4, 4), x=True).scan()
    for change, message in (
        ({"x": None}, "expected the recurrence to get x"),
        ({"bias": s.bias[:1]}, r"expected bias of shape \[2, 16, 4\], got \[1, 16, 4\]"),
        ({"weight_ih": None}, "expected input and weight_ih together"),
    ):
        with pytest.raises(RuntimeError, match=message):
            emulated.ops.recurrence(*s._replace(**change))
    with pytest.raises(ValueError, match="expected x of torch.float32 .* got torch.float32"):
        emulated.ops.scan(*s._replace(x=s.x[:1]))


@pytest.mark.parametrize("maps", [(0, 3, 4), (2, 3, 4)], ids=["empty", "full"])
@pytest.mark.parametrize("family", ["row3", "stable"])
def test_gradients_that_are_not_wanted_have_no_elements(family, maps, emulated):
    problem = Problem("fp32", family, 3, maps, x=True)
    whole = emulated.ops.scan_gradients(*problem.gradients(emulated.ops).flat)
    for k in range(len(OPERANDS)):
        wanted = [i == k for i in range(len(OPERANDS))]
        got = emulated.ops.scan_gradients(*problem.gradients(emulated.ops, wanted=wanted).flat)
        for want, a, b in zip(wanted, whole, got):
            assert torch.equal(a, b) if want else b.shape == (*a.shape[:-1], 0)


@pytest.mark.parametrize("sizes", [None, [(3, 4), (2, 2)]], ids=["full", "ragged"])
@pytest.mark.parametrize("format", ["fp64", "bf16"])
@pytest.mark.parametrize("family", ["row3", "bilstm", "halved-peepholes"])
def test_opcheck(family, format, sizes):
    """Shapes, dtypes and strides, of weights as a layer gives them."""
    problem, ops = Problem(format, family, 3, (2, 3, 4), x=True, sizes=sizes), library.load("sm_90").ops
    for m in (problem.inputs["x"], problem.inputs["input"], problem.cotangent):
        m.nan_to_num_()  # no NaN equals another
    tests = "test_schema", "test_faketensor", "test_autograd_registration"
    opcheck(ops.scan_gradients.default, problem.gradients(ops).flat, test_utils=tests[:2])
    if sizes is None:  # c and the gates hold anything outside of an image, and not the same twice
        opcheck(ops.scan.default, tuple(problem.scan(requires_grad=True)), test_utils=tests)


def test_halves_keep_the_state_in_float32(emulated):
    p = Problem("bf16", "stable", 3, (2, 3, 4))
    got = p.run(emulated.ops, p.dtype)
    assert [got[name].dtype for name in ("h", "c", "gates")] == [torch.bfloat16, torch.float32, torch.float16]
    assert_close("h", p.run(REFERENCE, torch.float64)["h"], got["h"], RATIO["bf16"])


# ---- the kernels around the products, against the decomposition
# (diagonal, taps, corners); maps of one cell, one row, one column, narrower and wider than the widest row of taps.
SCANS = {
    "bilstm": (True, 2, [0, 1]),
    "four": (True, 2, [3, 2, 1, 0]),
    "row1": (False, 1, [0]),
    "row3": (False, 3, [2]),
    "row7": (False, 7, [1, 2]),
}
MAPS = [(1, 1, 1), (2, 1, 6), (2, 7, 1), (1, 3, 2), (5, 5, 7)]
TYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


def sizes_of(maps):
    """None, and sizes that begin outside of their range."""
    images, height, width = maps
    return None, torch.tensor([(height + 9, width), *RAGGED[1:], (-1, 2)][:images])


@pytest.mark.parametrize("scan", SCANS)
@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_states_that_the_taps_read(dtype, scan, emulated):
    """Exactly: they are copies, of pieces of 2 to 16 bytes."""
    emulated.emulator.schedule("random", seed=3, preemption=20)
    diagonal, taps, corners = SCANS[scan]
    for maps in MAPS:
        for hidden, sizes in ((h, s) for h in (1, 6, 16, 20) for s in sizes_of(maps)):
            h = torch.randn(*maps, len(corners), hidden).to(dtype)
            h0 = torch.randn(len(corners), hidden).to(dtype) if hidden != 6 else None
            of_taps = sizes, corners, diagonal, taps, *((1, taps - 2) if taps > 3 else (0, taps))
            expected = neighbours_of(h, h0, *of_taps)
            assert torch.equal(emulated.ops.neighbour_states(h, h0, *of_taps), expected), (maps, hidden, sizes)


@pytest.mark.parametrize("gates", [4, 5])
@pytest.mark.parametrize("scan", SCANS)
@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_sums_over_the_border(dtype, scan, gates, emulated):
    """Only cells of images count: dx outside of them is NaN here."""
    emulated.emulator.schedule("random", seed=3, preemption=20)
    diagonal, taps, corners = SCANS[scan]
    for maps in MAPS:
        for hidden, sizes in ((1, None), *((40, s) for s in sizes_of(maps))):
            dx = torch.randn(len(corners), *maps, gates * hidden).to(dtype)
            if sizes is not None:
                for b, (height, width) in enumerate(sizes.clamp(min=0)):
                    dx[:, b, height:], dx[:, b, :, width:] = torch.nan, torch.nan
            got = emulated.ops.border_sums(dx, sizes, corners, diagonal, taps)
            assert got.dtype == state_dtype(dtype)
            expected = border_sums(dx, sizes, corners, diagonal, taps)
            assert_close("border sums", expected, got, 1e-14 if dtype == torch.float64 else 1e-6)
            assert torch.equal(got, emulated.ops.border_sums(dx, sizes, corners, diagonal, taps))


class Launches(TorchDispatchMode):
    """The names of what runs, but views and allocations."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        if not function.is_view and name not in ("_unsafe_view", "new_empty", "empty_like", "promote_types"):
            self.names.append(name)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("family", "operand", "launches"),
    [
        ("bilstm", "weight_hh", ["neighbour_states", "bmm", "copy_"]),
        ("row3", "weight_hh", ["neighbour_states", "bmm", "copy_"]),
        ("stable", "weight_hh", ["neighbour_states", "bmm", "cat", "copy_"]),
        ("bilstm", "h0", ["clone", "border_sums", "bmm"]),
        ("stable", "h0", ["clone", "cat", "border_sums", "bmm"]),
        ("row3", "c0", ["sum"]),
        ("stable", "c0", ["sum", "add_"]),
    ],
)
def test_a_gradient_takes_one_kernel_and_one_product(family, operand, launches, emulated):
    """A copy of the weight's size brings the product into its order; the fifth gates are a copy of their own."""
    problem = Problem("fp32", family, 16, (2, 5, 9), merge="none")
    g = problem.gradients(emulated.ops, wanted=[name == operand for name in OPERANDS])
    with Launches() as seen:
        emulated.ops.scan_gradients.default.redispatch(torch._C.DispatchKeySet(torch._C.DispatchKey.CPU), *g.flat)
    assert seen.names[0] == "recurrence_backward" and sorted(seen.names[1:]) == sorted(launches)
