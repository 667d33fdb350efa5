"""The way of a LSTM2d through its operator's operands: products, orders of rows and merges around a scan that is the
reference's here."""

import pytest
import torch

from checks import assert_close
from lstm2d import VARIANTS, make_layer, results
from pixelrnn_ext.operators.lstm2d import rows, run

SIZES = torch.tensor([(4, 6), (3, 1), (0, 2)])


@pytest.fixture
def by_operator(monkeypatch):
    """Every layer's way, whatever its backend."""
    monkeypatch.setattr(run, "_by_reference", lambda scan: run.by_operator(scan, "auto"))


@pytest.mark.covering(2)
@pytest.mark.parametrize("merge", ["concat", "sum", "mean", None])
@pytest.mark.parametrize("initial_state", ["zero", "learned"])
@pytest.mark.parametrize("bias", [False, True], ids=["no-bias", "bias"])
@pytest.mark.parametrize("sizes", [None, SIZES], ids=["full", "ragged"])
@pytest.mark.parametrize("directions", [1, 4, ("br", "tr")], ids=str)
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_same_as_the_reference(variant, directions, sizes, bias, initial_state, merge, request):
    options = dict(directions=directions, bias=bias, initial_state=initial_state, merge=merge)
    layer = make_layer(variant, **options)
    x = torch.randn(3, 2, 4, 6, dtype=torch.float64)
    if sizes is not None:
        x[1, :, 3:] = torch.nan
    want = results(layer, x, sizes)
    request.getfixturevalue("by_operator")
    got = results(layer, x, sizes)
    for name, value in want.items():
        assert_close(name, value, got[name], 1e-14)


@pytest.mark.parametrize("merge", ["concat", "sum", "mean"])
def test_the_merged_map_is_in_channels_last(merge, by_operator):
    y = make_layer("stable", merge=merge)(torch.randn(2, 2, 4, 6, dtype=torch.float64))
    assert y.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("gates", [4, 5])
def test_rows_of_kernels_have_four_gates_of_a_unit_then_the_fifth_of_all(gates):
    hidden = 3
    ours = torch.arange(gates * hidden)
    theirs = [gate * hidden + unit for unit in range(hidden) for gate in range(4)] + list(range(4 * hidden, 5 * hidden))
    got = rows.by_unit(ours[None, :, None], gates, 1)
    assert got[0, :, 0].tolist() == theirs[: gates * hidden]
    assert torch.equal(rows.by_gate(got, gates, 1)[0, :, 0], ours)
