"""Every layer on every backend against the pixel-by-pixel oracle, outputs and gradients, and against torch.nn.LSTM."""

import pytest
import torch

import pixelrnn_ext as px
from helpers import oracle
from helpers.checks import LAYERS, RATIO, assert_close, cotangent_of, gate_bias_channels
from helpers.scans import BACKENDS, LSTM2D, make_layer, ragged_sizes, results

# What a layer is given beside its input: (bias, initial_state, gate_bias, sizes).
GIVEN = {
    "everything": (True, "learned", True, True),
    "bias": (True, "zero", False, False),
    "states-gate_bias": (False, "learned", True, False),
    "sizes": (False, "zero", False, True),
}
of_every_kind = pytest.mark.parametrize("given", GIVEN)


def check(name, given, x, hidden, **options):
    bias, initial_state, has_gate_bias, ragged = GIVEN[given]
    layer = make_layer(name, x.shape[1], hidden, bias=bias, initial_state=initial_state, **options)
    gate_bias = torch.randn(len(x), gate_bias_channels(layer), *x.shape[2:]).double() if has_gate_bias else None
    sizes = ragged_sizes(len(x), *x.shape[2:]) if ragged else None
    got = results(layer, x, sizes, gate_bias=gate_bias)
    maps = [m.requires_grad_() for m in (x, gate_bias) if m is not None]
    y = oracle.layer(layer, x, gate_bias, sizes)
    expected = [y, *torch.autograd.grad(y, [*maps, *layer.parameters()], cotangent_of(y))]
    for (key, value), want in zip(got.items(), expected, strict=True):
        assert_close(key, want, value, RATIO[torch.float64])
    if layer.backend != "reference" and y.dim() == 4:
        assert got["output"].is_contiguous(memory_format=torch.channels_last)


@pytest.mark.covering(2, sweep=100)
@of_every_kind
@pytest.mark.parametrize("mask_type", [None, "A", "B"], ids="mask{}".format)
@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize(
    ("n", "channels", "hidden", "height", "width", "colours"),
    [pytest.param(2, 4, 5, 3, 4, 3, id="3x4-rgb"), pytest.param(1, 2, 3, 5, 2, 1, id="5x2-gray")],
)
def test_layer(name, n, channels, hidden, height, width, colours, mask_type, given, backend):
    x = torch.randn(n, channels, height, width, dtype=torch.float64)
    check(name, given, x, hidden, image_channels=colours, mask_type=mask_type, backend=backend)


# H, W, hidden: one pixel, a row, a column; higher, wider; lines of several tiles of 8 cells. Of one hidden channel the
# gradient of h0 would be one number, a sum that may cancel.
SIZES = [(1, 1, 3), (1, 6, 2), (5, 1, 8), (7, 5, 3), (9, 10, 24)]
LAYOUTS = [(1, "concat"), (("br",), "sum"), (2, "mean"), (("bl", "tr", "tl"), None), (4, "concat"), (4, "sum")]


@pytest.mark.covering(2, sweep=100)
@of_every_kind
@pytest.mark.parametrize(("directions", "merge"), LAYOUTS, ids=str)
@pytest.mark.parametrize(("height", "width", "hidden"), SIZES, ids=["{}x{}-h{}".format(*size) for size in SIZES])
@pytest.mark.parametrize("variant", LSTM2D)
def test_lstm2d(variant, height, width, hidden, directions, merge, given, backend):
    x = torch.randn(3, 2, height, width, dtype=torch.float64)
    check(variant, given, x, hidden, directions=directions, merge=merge, backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
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
