"""The modules as modules: parameters, options, errors."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F

import pixelrnn_ext as px
from helpers.checks import LAYERS, make_layer
from pixelrnn_ext import functional

WEIGHTS = dict(weight_ih=(20, 3, 1, 1), weight_hh=(20, 5, 2), bias=(20,))
STATES = dict(h0=(5,), c0=(5,))


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        pytest.param(px.RowLSTM(3, 5), dict(weight_ih=(20, 3, 1, 3), weight_hh=(20, 5, 3), bias=(20,)), id="row"),
        pytest.param(px.DiagonalLSTM(3, 5, initial_state="learned"), WEIGHTS | STATES, id="diagonal-learned"),
        pytest.param(
            px.DiagonalBiLSTM(3, 5, initial_state="learned"),
            WEIGHTS | STATES | {name + "_reverse": size for name, size in (WEIGHTS | STATES).items()},
            id="bilstm-learned",
        ),
        pytest.param(
            px.DiagonalLSTM(3, 5, bias=False), dict(weight_ih=(20, 3, 1, 1), weight_hh=(20, 5, 2)), id="no-bias"
        ),
    ],
)
def test_parameters(layer, expected):
    assert {name: tuple(p.shape) for name, p in layer.named_parameters()} == expected


@pytest.mark.parametrize("name", LAYERS)
def test_copy_pickle_state_dict_and_repr(name):
    layer = make_layer(name, 3, 4, initial_state="learned")
    x = torch.randn(1, 3, 4, 4)
    fresh = make_layer(name, 3, 4, initial_state="learned")
    fresh.load_state_dict(layer.state_dict())
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), fresh):
        assert torch.equal(other(x), layer(x))
    assert repr(layer).startswith(type(layer).__name__ + "(3, 4")


def test_device_dtype_and_initialisation():
    layer = px.RowLSTM(3, 16, initial_state="learned", device="cpu", dtype=torch.float64)
    assert all(p.dtype == torch.float64 for p in layer.parameters())
    assert not layer.h0.any() and not layer.c0.any()
    assert 0.2 < layer.weight_hh.abs().max() <= 16**-0.5


@pytest.mark.parametrize("name", LAYERS)
def test_mask_acts_on_any_weight(name):
    """Training cannot un-mask it: masked weights have no effect and no gradient."""
    layer = make_layer(name, 3, 3, image_channels=3)
    x = torch.randn(1, 3, 4, 4)
    before = layer(x)
    mask = px.masks.causal_mask("B", 12, 3, (1, layer.kernel_size), image_channels=3, gates=4)
    with torch.no_grad():
        layer.weight_ih += torch.where(mask > 0, 0, 100.0)
    assert torch.equal(layer(x), before)
    layer(x).sum().backward()
    assert not layer.weight_ih.grad[mask == 0].any() and layer.weight_ih.grad[mask > 0].all()


def test_bilstm_is_left_plus_right_shifted_down():
    layer = px.DiagonalBiLSTM(3, 4)
    x = torch.randn(2, 3, 5, 6)
    left = functional.diagonal_lstm(x, layer.weight_ih, layer.weight_hh, layer.bias, mask_type="B")
    weights = layer.weight_ih_reverse, layer.weight_hh_reverse, layer.bias_reverse
    right = functional.diagonal_lstm(x, *weights, mask_type="B", reverse=True)
    mirrored = functional.diagonal_lstm(x.flip(3), *weights, mask_type="B").flip(3)
    torch.testing.assert_close(right, mirrored, rtol=0, atol=0)
    torch.testing.assert_close(layer(x), left + F.pad(right[:, :, :-1], (0, 0, 1, 0)), rtol=0, atol=0)


X = torch.randn(2, 3, 4, 5)
ROW = dict(weight_ih=torch.randn(16, 3, 1, 3), weight_hh=torch.randn(16, 4, 3))
DIAGONAL = dict(weight_ih=torch.randn(16, 3, 1, 1), weight_hh=torch.randn(16, 4, 2))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        pytest.param(
            dict(input=X[0]), ValueError, r"expected input of shape \(N, C, H, W\), got \(3, 4, 5\)", id="rank"
        ),
        pytest.param(
            dict(input=X[:, :2]), ValueError, r"weight_ih of shape \(16, 2, 1, k\), got \(16, 3, 1, 3\)", id="channels"
        ),
        pytest.param(dict(input=X[:, :, :0]), ValueError, r"H >= 1 and W >= 1, got \(2, 3, 0, 5\)", id="empty"),
        pytest.param(
            dict(input=X.double()),
            TypeError,
            "one dtype, got input of torch.float64 and weight_ih of torch.float32",
            id="dtype",
        ),
        pytest.param(dict(input=X.long()), TypeError, "floating-point dtype .* got torch.int64", id="integers"),
        pytest.param(dict(input=X.tolist()), TypeError, "expected input to be a Tensor, got list", id="list"),
        pytest.param(dict(weight_hh=None), TypeError, "expected weight_hh to be a Tensor, got NoneType", id="missing"),
        pytest.param(
            dict(input=X.to("meta")), ValueError, "one device, got input on meta and weight_ih on cpu", id="device"
        ),
        pytest.param(
            dict(weight_hh=torch.randn(16, 4, 2)), ValueError, "odd number of taps in weight_hh, got 2", id="even-taps"
        ),
        pytest.param(
            dict(weight_ih=torch.randn(16, 3, 1, 2)), ValueError, "odd kernel in weight_ih, got 2", id="even-kernel"
        ),
        pytest.param(
            dict(weight_hh=torch.randn(15, 4, 3)),
            ValueError,
            r"weight_hh of shape \(4 \* hidden, hidden, taps\), got \(15, 4, 3\)",
            id="gates",
        ),
        pytest.param(dict(bias=torch.randn(4)), ValueError, r"expected bias of shape \(16,\), got \(4,\)", id="bias"),
        pytest.param(dict(h0=torch.randn(2, 4)), ValueError, r"expected h0 of shape \(4,\), got \(2, 4\)", id="h0"),
        pytest.param(
            dict(gate_bias=torch.randn(2, 8, 4, 5)),
            ValueError,
            r"gate_bias broadcastable to \(2, 16, 4, 5\), got \(2, 8, 4, 5\)",
            id="gate_bias",
        ),
        pytest.param(dict(mask_type="C"), ValueError, "mask_type to be 'A', 'B' or None, got 'C'", id="mask_type"),
        pytest.param(
            dict(mask_type="B", image_channels=5),
            ValueError,
            "at least one channel for each of 5 image_channels, got 4",
            id="image_channels",
        ),
        pytest.param(
            dict(backend="fast"),
            ValueError,
            "backend to be one of 'auto', 'native', 'step', 'resident', 'reference', got 'fast'",
            id="backend",
        ),
    ],
)
@pytest.mark.parametrize("backend", ["native", "reference"])
def test_function_errors(change, error, message, backend):
    with pytest.raises(error, match=message):
        functional.row_lstm(**(dict(input=X, **ROW, backend=backend) | change))


def test_diagonal_errors():
    with pytest.raises(ValueError, match=r"weight_hh of shape \(4 \* hidden, hidden, 2\), got \(16, 4, 3\)"):
        functional.diagonal_lstm(X, DIAGONAL["weight_ih"], ROW["weight_hh"])
    with pytest.raises(ValueError, match=r"weight_ih_reverse of shape \(16, 3, 1, 1\), got \(16, 3, 1, 3\)"):
        functional.diagonal_bilstm(X, *DIAGONAL.values(), ROW["weight_ih"], DIAGONAL["weight_hh"])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        pytest.param(lambda: px.RowLSTM(3, 4, 2), ValueError, "expected an odd kernel_size, got 2", id="even"),
        pytest.param(lambda: px.RowLSTM(3.0, 4), TypeError, "expected in_channels to be an int, got float", id="float"),
        pytest.param(lambda: px.DiagonalLSTM(3, 0), ValueError, "expected hidden_channels >= 1, got 0", id="zero"),
        pytest.param(
            lambda: px.RowLSTM(3, 4, mask_type="C"), ValueError, "mask_type to be 'A', 'B' or None, got 'C'", id="mask"
        ),
        pytest.param(
            lambda: px.RowLSTM(3, 4, initial_state="one"), ValueError, "'zero' or 'learned', got 'one'", id="state"
        ),
        pytest.param(
            lambda: px.RowLSTM(2, 4, image_channels=3), ValueError, "each of 3 image_channels, got 2", id="colours"
        ),
        pytest.param(lambda: px.DiagonalBiLSTM(3, 4, backend="cuda"), ValueError, "got 'cuda'", id="backend"),
    ],
)
def test_constructor_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("backend", "device", "message"),
    [
        ("native", "meta", "the native kernels run on CPU and CUDA tensors, got tensors on meta"),
        ("step", "cpu", "it is a path of the CUDA kernels, got tensors on cpu"),
        ("resident", "cpu", "it is a path of the CUDA kernels, got tensors on cpu"),
    ],
)
def test_a_backend_that_cannot_run_says_why(backend, device, message):
    layer = px.RowLSTM(3, 4, backend=backend, device=device)
    with pytest.raises(RuntimeError, match=f"backend='{backend}' cannot run: {message}"):
        layer(torch.empty(2, 3, 4, 5, device=device))


@pytest.mark.skipif(px.build_config()["why_no_native"] is not None, reason="needs the kernels")
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["NCHW", "channels_last"])
def test_memory_format_of_the_output(layout):
    """As docs/use_a_layer.md says: the recurrences' is channels_last, a masked convolution's that of its input."""
    x = torch.ones(2, 3, 5, 6).to(memory_format=layout)
    for layer in (px.RowLSTM(3, 4), px.DiagonalLSTM(3, 4), px.DiagonalBiLSTM(3, 4)):
        assert layer(x).is_contiguous(memory_format=torch.channels_last)
    for options in (
        dict(kernel_size=3, mask_type="B"),
        dict(kernel_size=1, mask_type="A"),
        dict(kernel_size=1, mask_type="B"),
    ):
        assert px.MaskedConv2d(3, 4, **options)(x).is_contiguous(memory_format=layout)


READS_ITS_OUTPUT = {
    "row": (px.RowLSTM(3, 4), True),
    "diagonal": (px.DiagonalLSTM(3, 4), True),
    "bilstm": (px.DiagonalBiLSTM(3, 4), False),
    "convolution": (px.MaskedConv2d(3, 4, 3, "B"), False),
    "convolution-relu": (px.MaskedConv2d(3, 4, 3, "B", activation="relu"), True),
    "lstm2d": (px.LSTM2d(3, 4), True),
    "lstm2d-none": (px.LSTM2d(3, 4, directions=1, merge=None), True),
    "lstm2d-sum": (px.LSTM2d(3, 4, directions=1, merge="sum"), False),
    "lstm2d-mean": (px.LSTM2d(3, 4, directions=2, merge="mean"), False),
}


@pytest.mark.skipif(px.build_config()["why_no_native"] is not None, reason="needs the kernels")
@pytest.mark.parametrize("name", READS_ITS_OUTPUT)
def test_behind_which_layers_an_activation_works_in_place(name):
    """Holds docs/use_a_layer.md to what it says, and to what the other activation costs."""
    (layer, reads), x = READS_ITS_OUTPUT[name], torch.randn(2, 3, 5, 6)
    ordinary, in_place = torch.nn.ReLU(), torch.nn.ReLU(inplace=True)

    def kept(activation):
        """Bytes that are kept for the backward pass."""
        saved = []
        with torch.autograd.graph.saved_tensors_hooks(saved.append, lambda nothing: nothing):
            y = activation(layer(x))
        storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in saved}
        return sum(storages.values()), y.nbytes

    def gradients(activation):
        y = activation(layer(x))
        return torch.autograd.grad(y.square().sum(), list(layer.parameters()))

    if reads:
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            gradients(in_place)
        (without, a_map), (memory, _) = kept(torch.nn.Identity()), kept(ordinary)
        assert memory == without + a_map
    else:
        assert all(torch.equal(a, b) for a, b in zip(gradients(ordinary), gradients(in_place)))
