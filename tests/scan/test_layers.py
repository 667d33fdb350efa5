import copy
import pickle

import pytest
import torch

import pixelrnn_ext as px
from helpers.checks import (
    OperatorRecorder,
    assert_all_close,
    assert_close,
    cotangent_of,
    launches_kernel,
    native,
    randn64,
)
from helpers.scans import KINDS, LAYERS, LSTM2D, MASKED, each_backend, gate_bias_channels, halves, make_layer, results
from pixelrnn_ext.cells import CELLS
from pixelrnn_ext.directions import SUFFIXES
from pixelrnn_ext.operators import backends
from pixelrnn_ext.operators.backends import kernel_dtype

# This decorator runs a test on one layer of each kind. It is for tests in which neither the cell's formula nor the
# kernel size matters.
one_of_each = pytest.mark.parametrize("name", [*KINDS, *MASKED])


def sizes_of(rows, *suffixes, bias=True, learned=False):
    sizes = dict(weight_ih=(rows, 3, 1, 1), weight_hh=(rows, 5, 2))
    sizes |= dict(bias=(rows,)) if bias else {}
    sizes |= dict(h0=(5,), c0=(5,)) if learned else {}
    return {name + end: size for end in suffixes for name, size in sizes.items()}


LEARNED = dict(initial_state="learned")
PARAMETERS = {
    "row": (px.RowLSTM, {}, dict(weight_ih=(20, 3, 1, 3), weight_hh=(20, 5, 3), bias=(20,))),
    "diagonal": (px.DiagonalLSTM, LEARNED, sizes_of(20, "", learned=True)),
    "diagonal-no-bias": (px.DiagonalLSTM, dict(bias=False), sizes_of(20, "", bias=False)),
    "bilstm": (px.DiagonalBiLSTM, LEARNED, sizes_of(20, "", "_reverse", learned=True)),
    "one": (px.LSTM2d, dict(directions=1), sizes_of(25, "")),
    "two-no-bias": (px.LSTM2d, dict(directions=2, bias=False), sizes_of(25, "", "_up_reverse", bias=False)),
    "four": (px.LSTM2d, {}, sizes_of(25, "", "_reverse", "_up", "_up_reverse")),
    "peepholes": (
        px.LSTM2d,
        LEARNED | dict(directions=("tr",), cell="graves", peepholes=True),
        sizes_of(25, "_reverse", learned=True) | dict(peephole_reverse=(4, 5)),
    ),
    "pixelrnn": (px.LSTM2d, dict(directions=1, cell="pixelrnn"), sizes_of(20, "")),
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters(name):
    layer, options, expected = PARAMETERS[name]
    assert {name: tuple(p.shape) for name, p in layer(3, 5, **options).named_parameters()} == expected


@pytest.mark.parametrize("name", [*LAYERS, *LSTM2D, *MASKED])
def test_copy_pickle_state_dict_and_repr(name):
    layer, fresh = make_layer(name), make_layer(name)
    x = randn64(1, 2, 4, 4)
    fresh.load_state_dict(layer.state_dict())
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), fresh):
        assert torch.equal(other(x), layer(x))
    assert repr(layer).startswith(type(layer).__name__ + "(2, 3, ")


def test_repr_says_what_is_unusual():
    layer = px.LSTM2d(2, 3, cell="halved", directions=1, merge=None, peepholes=True, bias=False)
    assert repr(layer) == (
        "LSTM2d(2, 3, cell='halved', directions=('tl',), merge=None, peepholes=True, bias=False, "
        "initial_state='zero', backend='auto')"
    )


# {cell: initial bias of each gate, or None if it is random}
INITIAL_BIASES = {
    "pixelrnn": [None, None, None, None],
    "stable": [None, 1, None, None, None],
    "graves": [None, -1, None, None, -1],
    "halved": [None, 1, None, None, 1],
    "leaky": [0, 0, 0, 0, 0],
    "max": [None, 1, None, None, 1],
}


@pytest.mark.parametrize(
    ("cell", "forget_bias"), [(c, None) for c in CELLS] + [(c, 2.5) for c in CELLS if c != "leaky"]
)
def test_initialisation(cell, forget_bias):
    options = dict(peepholes=True) if CELLS[cell].peepholes else {}
    layer = px.LSTM2d(3, 16, cell=cell, initial_state="learned", forget_bias=forget_bias, **options)
    expected = INITIAL_BIASES[cell]
    if forget_bias is not None:
        forget_gates = [k for k, gate in enumerate(CELLS[cell].gates) if gate.startswith("f")]
        expected = [forget_bias if k in forget_gates else value for k, value in enumerate(expected)]
    for suffix in SUFFIXES.values():
        for rows, value in zip(getattr(layer, "bias" + suffix).view(-1, 16), expected, strict=True):
            assert (rows == value).all() if value is not None else 0 < rows.abs().max() <= 0.25
        for name in ("weight_ih", "weight_hh"):
            assert 0.2 < getattr(layer, name + suffix).abs().max() <= 0.25
        for name in ("h0", "c0", *(["peephole"] if options else [])):
            assert not getattr(layer, name + suffix).any()


@pytest.mark.parametrize(
    ("directions", "other"), [(("tl", "tr"), px.DiagonalBiLSTM), (1, px.DiagonalLSTM)], ids=["two", "one"]
)
def test_the_cell_pixelrnn_has_the_parameters_and_the_seeds_of_a_diagonal_lstm(directions, other):
    torch.manual_seed(1)
    ours = px.LSTM2d(3, 4, cell="pixelrnn", directions=directions).state_dict()
    torch.manual_seed(1)
    theirs = other(3, 4).state_dict()
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


@each_backend
@pytest.mark.parametrize("name", ["row3", "diagonal", "stable"])
def test_a_gate_bias_is_broadcast(name, backend):
    layer = make_layer(name, directions=2, backend=backend)
    rows = gate_bias_channels(layer)
    x, gate_bias = randn64(2, 2, 4, 5), randn64(1, rows, 1, 5)
    want, got = (results(layer, x, gate_bias=m) for m in (gate_bias.expand(2, -1, 4, -1), gate_bias))
    want["gate_bias"] = want["gate_bias"].sum((0, 2), keepdim=True)
    assert_all_close(want, got, 1e-13)


@halves
@each_backend
@one_of_each
def test_halves_are_computed_with_sums_in_float32(name, backend, dtype):
    layer = make_layer(name, 4, 8, backend=backend).to(dtype)
    x = torch.randn(2, 4, 6, 5).to(dtype)
    exact = copy.deepcopy(layer).float()
    exact.backend = "reference"
    got = results(layer, x)
    expected = results(exact, x.float(), cotangent=cotangent_of(got["output"]).float())
    assert all(value.dtype == dtype for value in got.values())
    assert_all_close(expected, got, torch.finfo(dtype).eps)


@halves
@each_backend
@one_of_each
def test_autocast_returns_its_dtype_and_leaves_float64_alone(name, backend, dtype):
    layer = make_layer(name, dtype=torch.float32, backend=backend)
    wide = copy.deepcopy(layer).double()
    x = torch.randn(2, 2, 4, 5, requires_grad=True)
    with torch.autocast("cpu", dtype):
        from_float, from_half, exact = layer(x), layer(x.to(dtype)), wide(x.double())
        gradients = torch.autograd.grad(from_float.float().square().sum(), [x, *layer.parameters()])
    assert torch.equal(exact, wide(x.double()))
    assert from_float.dtype == from_half.dtype == dtype and all(g.dtype == torch.float32 for g in gradients)
    # Autocast rounds the operands of a convolution, and of a scan in 16-bit kernels.
    rounds_operands = name in MASKED or (backend == "native" and kernel_dtype("cpu", dtype) == dtype)
    assert_close("output", exact, from_float, (1 + rounds_operands) * torch.finfo(dtype).eps)
    assert torch.equal(from_half, from_float if rounds_operands else layer(x.to(dtype).float()).to(dtype))


@native
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_pass_calls_one_operator_and_copies_nothing(device, monkeypatch):
    """The device "meta" stands in for a GPU."""
    monkeypatch.setattr(backends, "why_not_native", lambda device: None)
    layer, x = px.DiagonalLSTM(8, 16, device=device), torch.randn(2, 8, 5, 6, device=device, requires_grad=True)
    cotangent = torch.randn(2, 16, 5, 6, device=device)
    with OperatorRecorder(launches_kernel) as recorder:
        torch.autograd.grad(layer(x), [x, *layer.parameters()], cotangent)
    assert recorder.names == ["scan", "scan_gradients"]


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


@native
@pytest.mark.parametrize("name", READS_ITS_OUTPUT)
def test_behind_which_layers_an_activation_works_in_place(name):
    """No in-place ReLU may follow a layer whose backward reads the output (listed in docs/use_a_layer.md)."""
    (layer, reads), x = READS_ITS_OUTPUT[name], torch.randn(2, 3, 5, 6)
    ordinary, in_place = torch.nn.ReLU(), torch.nn.ReLU(inplace=True)

    def saved_bytes(activation):
        saved = []
        with torch.autograd.graph.saved_tensors_hooks(saved.append, lambda nothing: nothing):
            y = activation(layer(x))
        storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in saved}
        return sum(storages.values()), y.nbytes

    def gradients(activation):
        return torch.autograd.grad(activation(layer(x)).square().sum(), layer.parameters())

    if reads:
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            gradients(in_place)
        (without, a_map), (memory, _) = saved_bytes(torch.nn.Identity()), saved_bytes(ordinary)
        assert memory == without + a_map
    else:
        assert all(map(torch.equal, gradients(ordinary), gradients(in_place)))
