import pytest
import torch

from helpers import oracle
from helpers.checks import RATIO, assert_all_close, assert_close, cotangent_of, randn64
from helpers.scans import (
    EVERY_BACKEND,
    each_backend,
    each_layer,
    each_variant,
    gate_bias_channels,
    make_layer,
    ragged_sizes,
    results,
    use_backend,
)

# {case: (bias, initial_state, has a gate bias, images have sizes)}
OPTIONAL = {
    "everything": (True, "learned", True, True),
    "bias": (True, "zero", False, False),
    "states-gate_bias": (False, "learned", True, False),
    "sizes": (False, "zero", False, True),
}
each_optional = pytest.mark.parametrize("optional", OPTIONAL)


def check(name, optional, x, hidden, monkeypatch, **options):
    """Compares every backend with the oracle, which is slow and therefore runs once."""
    bias, initial_state, has_gate_bias, ragged = OPTIONAL[optional]
    layer = make_layer(name, x.shape[1], hidden, bias=bias, initial_state=initial_state, **options)
    for key, parameter in layer.named_parameters():
        if key.startswith("peephole"):  # large peepholes amplify rounding errors
            parameter.data.mul_(0.5)
    gate_bias = torch.randn(len(x), gate_bias_channels(layer), *x.shape[2:]).double() if has_gate_bias else None
    sizes = ragged_sizes(len(x), *x.shape[2:]) if ragged else None
    maps = [m.requires_grad_() for m in (x, gate_bias) if m is not None]
    y = oracle.layer(layer, x, gate_bias, sizes)
    expected = [y, *torch.autograd.grad(y, [*maps, *layer.parameters()], cotangent_of(y))]
    for backend in EVERY_BACKEND:
        with monkeypatch.context() as patch:
            layer.backend = use_backend(backend, patch)
            got = results(layer, x, sizes, gate_bias=gate_bias)
        assert_all_close(dict(zip(got, expected, strict=True)), got, RATIO[torch.float64])
        if backend != "reference" and y.dim() == 4:
            assert got["output"].is_contiguous(memory_format=torch.channels_last), backend


@pytest.mark.covering(2)
@each_optional
@pytest.mark.parametrize("mask_type", [None, "A", "B"], ids="mask{}".format)
@each_layer
@pytest.mark.parametrize(
    ("n", "channels", "hidden", "height", "width", "colours"),
    [(2, 4, 5, 3, 4, 3), (1, 2, 3, 5, 2, 1)],
    ids=["3x4-rgb", "5x2-gray"],
)
def test_layer(name, n, channels, hidden, height, width, colours, mask_type, optional, monkeypatch):
    x = randn64(n, channels, height, width)
    check(name, optional, x, hidden, monkeypatch, image_channels=colours, mask_type=mask_type)


# (H, W, hidden channels). With one hidden channel, h0's gradient would be one sum, whose terms may cancel.
SIZES = [(1, 1, 3), (1, 6, 2), (5, 1, 8), (7, 5, 3), (9, 10, 24)]
LAYOUTS = [(1, "concat"), (("br",), "sum"), (2, "mean"), (("bl", "tr", "tl"), None), (4, "concat"), (4, "sum")]


@pytest.mark.covering(2)
@each_optional
@pytest.mark.parametrize(("directions", "merge"), LAYOUTS, ids=str)
@pytest.mark.parametrize(("height", "width", "hidden"), SIZES, ids=["{}x{}-h{}".format(*size) for size in SIZES])
@each_variant
def test_lstm2d(variant, height, width, hidden, directions, merge, optional, monkeypatch):
    x = randn64(3, 2, height, width)
    check(variant, optional, x, hidden, monkeypatch, directions=directions, merge=merge)


@each_backend
@pytest.mark.parametrize("learned", [False, True], ids=["zero", "learned"])
@pytest.mark.parametrize(
    ("n", "channels", "hidden", "height", "width"), [(3, 5, 8, 4, 7), (1, 16, 17, 9, 3), (2, 1, 5, 1, 6)]
)
@pytest.mark.parametrize("name", ["row1", "pixelrnn", "stable", "graves", "max"])
def test_is_nn_lstm(name, n, channels, hidden, height, width, learned, backend):
    """A RowLSTM with kernel size 1 is an nn.LSTM down each column.

    An LSTM2d that ignores the upper neighbour is an nn.LSTM along each row. A large negative bias closes the fifth
    gate, which would let in the upper neighbour's state.
    """
    lstm = torch.nn.LSTM(channels, hidden, dtype=torch.float64)
    options = dict(mask_type=None) if name == "row1" else dict(directions=1)
    layer = make_layer(name, channels, hidden, backend=backend, **options)
    four = slice(4 * hidden)
    with torch.no_grad():
        for parameter in (layer.weight_ih, layer.weight_hh):
            parameter.zero_()
        layer.bias.fill_(-1000)
        layer.weight_ih[four, :, 0, 0] = lstm.weight_ih_l0
        layer.weight_hh[four, :, -1] = lstm.weight_hh_l0
        layer.bias[four] = lstm.bias_ih_l0 + lstm.bias_hh_l0
        for state in (layer.h0, layer.c0):
            state.normal_() if learned else state.zero_()
    x = randn64(n, channels, height, width).requires_grad_()
    cotangent = randn64(n, hidden, height, width)
    steps = x.permute(3, 0, 2, 1).flatten(1, 2)  # (W, N * H, C)
    states = tuple(s.expand(1, n * height, hidden).contiguous() for s in (layer.h0, layer.c0))
    expected = lstm(steps, states)[0].unflatten(1, (n, height)).permute(1, 3, 2, 0)
    got = layer(x.mT).mT if name == "row1" else layer(x)
    assert_close("output", expected, got, RATIO[torch.float64])
    names = "input", "weight_ih", "weight_hh", "bias", "h0", "c0"
    theirs = [x, lstm.weight_ih_l0, lstm.weight_hh_l0, lstm.bias_ih_l0, layer.h0, layer.c0]
    expected = torch.autograd.grad(expected, theirs, cotangent)
    dx, dweight_ih, dweight_hh, dbias, *dstates = torch.autograd.grad(
        got, [x, *map(layer.get_parameter, names[1:])], cotangent
    )
    got = dx, dweight_ih[four, :, 0, 0], dweight_hh[four, :, -1], dbias[four], *dstates
    assert_all_close(dict(zip(names, expected)), dict(zip(names, got)), RATIO[torch.float64])
