"""LSTM2d on the CUDA kernels, executed on a CPU as in test_emulated.py, against the CPU operators in float64."""

import pytest
import torch
from torch.library import opcheck

import lstm2d
from checks import assert_close
from scans import REFERENCE, Problem2d
from test_emulated import RATIO, compare
from test_lstm2d_operators import arguments, of_gradients

pytestmark = pytest.mark.emulated

ALL = ("tl", "tr", "bl", "br")
# A batch of unlike images, of which one is empty, one a row, one a column and one fills its map.
RAGGED = [(5, 7), (1, 6), (4, 1), (0, 3), (3, 4)]


@pytest.mark.parametrize("sizes", [None, RAGGED], ids=["full", "ragged"])
@pytest.mark.parametrize("corners", [("tl",), ("br",), ALL], ids="-".join)
@pytest.mark.parametrize("variant", lstm2d.VARIANTS)
def test_step_path(variant, corners, sizes, emulated):
    compare(Problem2d("fp32", variant, corners, 5, (5, 5, 7), sizes=sizes), emulated.ops, "step")


@pytest.mark.parametrize("format", ["fp64", "bf16", "fp16"])
@pytest.mark.parametrize("variant", ["pixelrnn", "graves-peepholes", "leaky"])
def test_step_path_in_other_formats(variant, format, emulated):
    compare(Problem2d(format, variant, ("tr", "bl"), 6, (5, 5, 7), sizes=RAGGED), emulated.ops, "step")


@pytest.mark.parametrize("maps", [(2, 1, 1), (2, 1, 9), (1, 9, 1)], ids=str)
@pytest.mark.parametrize("variant", ["pixelrnn", "stable", "max"])
def test_step_path_of_maps_of_a_row_or_a_column(variant, maps, emulated):
    compare(Problem2d("fp32", variant, ALL, 3, maps, states=False), emulated.ops, "step")


@pytest.mark.parametrize("format", ["bf16", "tf32", "fp32"])
def test_four_gates_on_the_resident_path(format, emulated):
    """From all corners at once: the kernels of the Diagonal LSTM."""
    compare(Problem2d(format, "pixelrnn", ALL, 16, (3, 10, 13)), emulated.ops, "resident")


def test_the_resident_path_says_why_not(emulated):
    ragged = Problem2d("fp32", "pixelrnn", ("tl",), 16, (2, 4, 4), sizes=[(4, 4), (2, 3)])
    with pytest.raises(RuntimeError, match="cannot run: expected no sizes with a cell of four gates"):
        ragged.run(emulated.ops, torch.float32, "resident")
    compare(ragged, emulated.ops, "auto")
    peepholes = Problem2d("fp32", "graves-peepholes", ("tl",), 16, (2, 4, 4))
    with pytest.raises(RuntimeError, match="cannot run: expected no peepholes"):
        peepholes.run(emulated.ops, torch.float32, "resident")
    compare(peepholes, emulated.ops, "auto")


def test_empty_batches(emulated):
    got = Problem2d("fp32", "stable", ALL, 8, (0, 3, 4)).run(emulated.ops, torch.float32)
    assert got["h"].shape == (0, 3, 4, 4, 8) and not got["dweight"].any() and got["dweight"].shape == (4, 2, 8, 5, 8)


def test_gradients_that_are_not_wanted_have_no_elements(emulated):
    p = Problem2d("fp32", "stable", ("tl", "br"), 3, (2, 3, 4), states=False)
    operands = list(p.inputs.values())
    h, c, gates = emulated.ops.lstm2d_scan(*operands, None, p.corners, p.cell)
    arguments = p.cotangent, *operands, None, h, c, gates, p.corners, p.cell
    whole = emulated.ops.lstm2d_gradients(*arguments, True, True, True)
    for wanted in [(False, True, False), (True, False, False), (False, False, True)]:
        for want, got, expected in zip(
            (*wanted, True, False, False, False), emulated.ops.lstm2d_gradients(*arguments, *wanted), whole
        ):
            assert torch.equal(got, expected) if want else got.numel() == 0


@pytest.mark.parametrize("sizes", [False, True], ids=["full", "ragged"])
@pytest.mark.parametrize("variant", ["pixelrnn", "halved-peepholes"])
def test_fake_kernels(variant, sizes, emulated):
    """Shapes, dtypes and strides, of weights as a layer gives them."""
    scan = arguments(variant, sizes=sizes, dtype=torch.float32)
    backward = of_gradients(scan, True, True, True)
    opcheck(emulated.ops.lstm2d_gradients.default, tuple(backward), test_utils=("test_schema", "test_faketensor"))
    if not sizes:  # c and the gates hold anything outside of an image, and not the same twice
        opcheck(emulated.ops.lstm2d_scan.default, tuple(scan), test_utils=("test_schema", "test_faketensor"))


def test_halves_keep_the_state_in_float32(emulated):
    p = Problem2d("bf16", "stable", ("tl",), 3, (2, 3, 4))
    got = p.run(emulated.ops, p.dtype)
    assert [got[name].dtype for name in ("h", "c", "gates")] == [torch.bfloat16, torch.float32, torch.float16]
    exact = p.run(REFERENCE, torch.float64)
    assert_close("h", exact["h"], got["h"], RATIO["bf16"])
