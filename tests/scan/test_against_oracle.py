"""Both backends against the cell-by-cell oracle, outputs and gradients, and against torch.nn.LSTM."""

import pytest
import torch

import pixelrnn_ext as px
from helpers.checks import (
    LAYERS,
    RATIO,
    assert_close,
    cotangent_of,
    gate_bias_channels,
    make_layer,
    outputs_and_gradients,
)
from helpers.oracle import layer as oracle_layer


@pytest.mark.parametrize("backend", ["native", "reference"])
@pytest.mark.parametrize("initial_state", ["zero", "learned"])
@pytest.mark.parametrize("mask_type", [None, "A", "B"], ids="mask{}".format)
@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize(
    ("n", "channels", "hidden", "height", "width", "colours"),
    [pytest.param(2, 4, 5, 3, 4, 3, id="3x4-rgb"), pytest.param(1, 2, 3, 5, 2, 1, id="5x2-gray")],
)
def test_layer(name, n, channels, hidden, height, width, colours, mask_type, initial_state, backend):
    options = dict(image_channels=colours, mask_type=mask_type, initial_state=initial_state, dtype=torch.float64)
    layer = make_layer(name, channels, hidden, **options)
    x = torch.randn(n, channels, height, width, dtype=torch.float64, requires_grad=True)
    gate_bias = torch.randn(n, gate_bias_channels(layer), height, width, dtype=torch.float64, requires_grad=True)
    got = outputs_and_gradients(layer, backend, x, gate_bias)
    y = oracle_layer(layer, x, gate_bias)
    cotangent = cotangent_of(y)
    leaves = [x, gate_bias, *layer.parameters()]
    for (key, value), expected in zip(got.items(), [y, *torch.autograd.grad(y, leaves, cotangent)]):
        assert_close(key, expected, value, RATIO[torch.float64])


@pytest.mark.parametrize("backend", ["native", "reference"])
@pytest.mark.parametrize("learned", [False, True], ids=["zero", "learned"])
@pytest.mark.parametrize(
    ("n", "channels", "hidden", "height", "width"), [(3, 5, 8, 7, 4), (1, 16, 17, 3, 9), (2, 1, 4, 6, 1)]
)
def test_row_lstm_of_kernel_1_is_nn_lstm_down_the_columns(n, channels, hidden, height, width, learned, backend):
    lstm = torch.nn.LSTM(channels, hidden, dtype=torch.float64)
    layer = px.RowLSTM(
        channels, hidden, 1, mask_type=None, initial_state="learned", dtype=torch.float64, backend=backend
    )
    with torch.no_grad():
        layer.weight_ih.copy_(lstm.weight_ih_l0[:, :, None, None])
        layer.weight_hh.copy_(lstm.weight_hh_l0[:, :, None])
        layer.bias.copy_(lstm.bias_ih_l0 + lstm.bias_hh_l0)
        for state in (layer.h0, layer.c0):
            state.normal_() if learned else state.zero_()
    x = torch.randn(n, channels, height, width, dtype=torch.float64, requires_grad=True)
    cotangent = torch.randn(n, hidden, height, width, dtype=torch.float64)
    columns = x.permute(2, 0, 3, 1).flatten(1, 2)  # (H, N * W, C)
    states = tuple(s.expand(1, n * width, hidden).contiguous() for s in (layer.h0, layer.c0))
    expected = lstm(columns, states)[0].unflatten(1, (n, width)).permute(1, 3, 0, 2)
    got = layer(x)
    assert_close("output", expected, got, RATIO[torch.float64])
    theirs = [x, lstm.weight_ih_l0, lstm.weight_hh_l0, lstm.bias_ih_l0, layer.h0, layer.c0]
    ours = [x, layer.weight_ih, layer.weight_hh, layer.bias, layer.h0, layer.c0]
    expected = torch.autograd.grad(expected, theirs, cotangent)
    got = torch.autograd.grad(got, ours, cotangent)
    for name, a, b in zip(("input", "weight_ih", "weight_hh", "bias", "h0", "c0"), expected, got):
        assert_close(name, a.view(b.shape), b, RATIO[torch.float64])
