"""The way of an LSTM2d through its operator's operands, where there are no kernels: by the operator's
decomposition."""

import pytest
import torch

from helpers.checks import assert_close
from helpers.scans import LSTM2D, make_layer, results
from pixelrnn_ext.operators.scan import run

SIZES = torch.tensor([(4, 6), (3, 1), (0, 2)])


@pytest.fixture
def without_kernels(monkeypatch):
    choose = run.backends.choose
    monkeypatch.setattr(run.backends, "choose", lambda backend, device: choose(backend, device) and None)


@pytest.mark.covering(2)
@pytest.mark.parametrize("merge", ["concat", "sum", "mean", None])
@pytest.mark.parametrize("initial_state", ["zero", "learned"])
@pytest.mark.parametrize("bias", [False, True], ids=["no-bias", "bias"])
@pytest.mark.parametrize("sizes", [None, SIZES], ids=["full", "ragged"])
@pytest.mark.parametrize("directions", [1, 4, ("br", "tr")], ids=str)
@pytest.mark.parametrize("variant", LSTM2D)
def test_the_same_as_the_reference(variant, directions, sizes, bias, initial_state, merge, without_kernels):
    options = dict(directions=directions, bias=bias, initial_state=initial_state, merge=merge)
    layer = make_layer(variant, backend="reference", **options)
    x = torch.randn(3, 2, 4, 6, dtype=torch.float64)
    if sizes is not None:
        x[1, :, 3:] = torch.nan
    want = results(layer, x, sizes)
    layer.backend = "auto"
    got = results(layer, x, sizes)
    for name, value in want.items():
        assert_close(name, value, got[name], 1e-14)


@pytest.mark.parametrize("merge", ["concat", "sum", "mean"])
def test_the_merged_map_is_in_channels_last(merge, without_kernels):
    y = make_layer("stable", merge=merge)(torch.randn(2, 2, 4, 6, dtype=torch.float64))
    assert y.is_contiguous(memory_format=torch.channels_last)
