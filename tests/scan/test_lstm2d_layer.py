"""LSTM2d as a module and as a function: parameters, initialisation, dtypes, errors."""

import copy
import pickle

import pytest
import torch

import pixelrnn_ext as px
from helpers.checks import RATIO, assert_close
from helpers.scans import BACKENDS, LSTM2D, make_layer
from pixelrnn_ext import functional
from pixelrnn_ext.cells import CELLS
from pixelrnn_ext.directions import SUFFIXES
from pixelrnn_ext.functional import Direction2d

WEIGHTS = dict(weight_ih=(25, 3, 1, 1), weight_hh=(25, 5, 2), bias=(25,))
STATES = dict(h0=(5,), c0=(5,))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        pytest.param(dict(directions=1), WEIGHTS, id="one"),
        pytest.param(
            dict(),
            {name + end: size for end in ("", "_reverse", "_up", "_up_reverse") for name, size in WEIGHTS.items()},
            id="four",
        ),
        pytest.param(
            dict(directions=2, bias=False),
            {name + end: WEIGHTS[name] for end in ("", "_up_reverse") for name in ("weight_ih", "weight_hh")},
            id="two-no-bias",
        ),
        pytest.param(
            dict(directions=("tr",), cell="graves", peepholes=True, initial_state="learned"),
            {name + "_reverse": size for name, size in (WEIGHTS | STATES | dict(peephole=(4, 5))).items()},
            id="peepholes-learned",
        ),
        pytest.param(
            dict(directions=1, cell="pixelrnn"),
            dict(weight_ih=(20, 3, 1, 1), weight_hh=(20, 5, 2), bias=(20,)),
            id="pixelrnn",
        ),
    ],
)
def test_parameters(options, expected):
    layer = px.LSTM2d(3, 5, **options)
    assert {name: tuple(p.shape) for name, p in layer.named_parameters()} == expected


@pytest.mark.parametrize("variant", LSTM2D)
def test_copy_pickle_state_dict_and_repr(variant):
    layer, fresh = make_layer(variant), make_layer(variant)
    x = torch.randn(1, 2, 4, 4, dtype=torch.float64)
    fresh.load_state_dict(layer.state_dict())
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), fresh):
        assert torch.equal(other(x), layer(x))
    assert repr(layer).startswith(f"LSTM2d(2, 3, cell={layer.cell!r}, directions=('tl', 'tr', 'bl', 'br')")


def test_repr_says_what_is_unusual():
    layer = px.LSTM2d(2, 3, cell="halved", directions=1, merge=None, peepholes=True, bias=False)
    assert repr(layer) == (
        "LSTM2d(2, 3, cell='halved', directions=('tl',), merge=None, peepholes=True, bias=False, "
        "initial_state='zero', backend='auto')"
    )


# cell -> what the bias of each gate is at first, None where it is drawn
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


def test_initialisation_draws_what_the_other_layers_draw():
    torch.manual_seed(1)
    ours = px.LSTM2d(3, 4, cell="pixelrnn", directions=("tl", "tr")).state_dict()
    torch.manual_seed(1)
    theirs = px.DiagonalBiLSTM(3, 4).state_dict()
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_dtypes(dtype, backend):
    """Halves are computed in float32 and rounded once."""
    layer = make_layer("stable", backend=backend).to(dtype)
    x, sizes = torch.randn(2, 2, 4, 6).to(dtype), torch.tensor([(4, 6), (3, 2)])
    y = layer(x, sizes)
    assert y.dtype == dtype
    exact = layer.double()(x.double(), sizes)
    assert_close("output", exact, y, max(torch.finfo(dtype).eps, RATIO[torch.float32]))


@pytest.mark.parametrize("backend", BACKENDS)
def test_autocast(backend):
    """The float32 output, rounded once."""
    layer = make_layer("stable", dtype=torch.float32, backend=backend)
    x = torch.randn(2, 2, 4, 6)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
        exact = layer.double()(x.double())
    assert y.dtype == torch.bfloat16 and exact.dtype == torch.float64
    assert_close("output", exact, y, torch.finfo(torch.bfloat16).eps)


@pytest.mark.parametrize("backend", ["native", "step", "resident"])
def test_a_backend_that_cannot_run_says_why(backend):
    with pytest.raises(RuntimeError, match=f"backend='{backend}' cannot run: "):
        px.LSTM2d(2, 3, backend=backend, device="meta")(torch.empty(1, 2, 3, 4, device="meta"))


X = torch.randn(2, 3, 4, 5)
ONE = Direction2d(torch.randn(20, 3, 1, 1), torch.randn(20, 4, 2))
SIZES = torch.tensor([(4, 5), (2, 3)])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        pytest.param(
            dict(cell="lstm"),
            ValueError,
            "cell to be one of 'pixelrnn', 'stable', 'graves', 'halved', 'leaky', 'max', got 'lstm'",
            id="cell",
        ),
        pytest.param(
            dict(corners=("top",)),
            ValueError,
            r"different corners of 'tl', 'tr', 'bl', 'br', got \('top',\)",
            id="corner",
        ),
        pytest.param(
            dict(corners=("tl", "tl"), weights=[ONE] * 2),
            ValueError,
            r"different corners .* got \('tl', 'tl'\)",
            id="corner-twice",
        ),
        pytest.param(dict(corners=(), weights=[]), ValueError, r"different corners .* got \(\)", id="no-corner"),
        pytest.param(
            dict(merge="add"), ValueError, "merge to be 'concat', 'sum', 'mean' or None, got 'add'", id="merge"
        ),
        pytest.param(
            dict(weights=[tuple(ONE)]), TypeError, "weights to be of functional.Direction2d, got tuple", id="tuple"
        ),
        pytest.param(
            dict(weights=[ONE] * 2), ValueError, "weights of 1 directions, one for each corner, got 2", id="directions"
        ),
        pytest.param(
            dict(weights=[ONE._replace(peephole=torch.zeros(4, 4))]),
            ValueError,
            "no peepholes but for cell 'graves' or 'halved', got cell 'stable'",
            id="peephole-of-another-cell",
        ),
        pytest.param(
            dict(weights=[ONE._replace(peephole=torch.zeros(3, 4))], cell="graves"),
            ValueError,
            r"peephole of shape \(4, 4\), got \(3, 4\)",
            id="peephole",
        ),
        pytest.param(dict(input=X[0]), ValueError, r"input of shape \(N, C, H, W\), got \(3, 4, 5\)", id="rank"),
        pytest.param(dict(input=X[:, :, :0]), ValueError, r"H >= 1 and W >= 1, got \(2, 3, 0, 5\)", id="empty"),
        pytest.param(
            dict(input=X[:, :2]),
            ValueError,
            r"weight_ih of shape \(20, 2, 1, 1\), got \(20, 3, 1, 1\)",
            id="channels",
        ),
        pytest.param(
            dict(input=X.double()), TypeError, "one dtype, got input of torch.float64 and weight_ih", id="dtype"
        ),
        pytest.param(dict(input=X.long()), TypeError, "floating-point dtype .* got torch.int64", id="integers"),
        pytest.param(
            dict(weights=[ONE._replace(weight_hh=None)]),
            TypeError,
            "weight_hh to be a Tensor, got NoneType",
            id="missing",
        ),
        pytest.param(
            dict(cell="pixelrnn"),
            ValueError,
            r"weight_hh of shape \(4 \* hidden, hidden, 2\) for cell 'pixelrnn', got \(20, 4, 2\)",
            id="gates",
        ),
        pytest.param(
            dict(corners=("tl", "br"), weights=[ONE, ONE._replace(weight_hh=torch.randn(25, 5, 2))]),
            ValueError,
            r"weight_hh_up_reverse of shape \(20, 4, 2\) for cell 'stable', got \(25, 5, 2\)",
            id="hidden-of-another-direction",
        ),
        pytest.param(
            dict(weights=[ONE._replace(bias=torch.zeros(4))]),
            ValueError,
            r"bias of shape \(20,\), got \(4,\)",
            id="bias",
        ),
        pytest.param(
            dict(weights=[ONE._replace(h0=torch.zeros(2, 4))]), ValueError, r"h0 of shape \(4,\), got", id="h0"
        ),
        pytest.param(dict(backend="fast"), ValueError, "backend to be one of .* got 'fast'", id="backend"),
        # Sizes.
        pytest.param(
            dict(sizes=[(4, 5), (2, 3)]), TypeError, "sizes as a Tensor of integers .*, got list", id="sizes-list"
        ),
        pytest.param(
            dict(sizes=SIZES.float()),
            TypeError,
            "sizes as a Tensor of integers .*, got torch.float32",
            id="sizes-float",
        ),
        pytest.param(
            dict(sizes=SIZES.to(torch.uint16)),
            TypeError,
            r"sizes as a Tensor of integers \(uint8, int8, int16, int32 or int64\), got torch.uint16",
            id="sizes-uint16",
        ),
        pytest.param(
            dict(sizes=SIZES.bool()), TypeError, "sizes as a Tensor of integers .*, got torch.bool", id="sizes-bool"
        ),
        pytest.param(
            dict(input=X[:1], sizes=torch.tensor([[4], [5]])),
            ValueError,
            r"sizes of shape \(1, 2\), a height and a width for each image, got \(2, 1\), which is transposed",
            id="sizes-transposed",
        ),
        pytest.param(
            dict(sizes=SIZES[:1]),
            ValueError,
            r"sizes of shape \(2, 2\), a height and a width for each image, got \(1, 2\)$",
            id="sizes-of-fewer-images",
        ),
        pytest.param(
            dict(sizes=torch.tensor([(4, 5), (5, 5)])),
            ValueError,
            "sizes from 0 x 0 to 4 x 5, got 5 x 5 of image 1",
            id="sizes-too-high",
        ),
        pytest.param(
            dict(sizes=torch.tensor([(4, 6), (2, 3)])),
            ValueError,
            "sizes from 0 x 0 to 4 x 5, got 4 x 6 of image 0",
            id="sizes-too-wide",
        ),
        pytest.param(
            dict(sizes=torch.tensor([(4, 5), (2, -1)])), ValueError, "got 2 x -1 of image 1", id="sizes-negative"
        ),
        pytest.param(
            dict(sizes=SIZES.to("meta")),
            ValueError,
            "sizes on the CPU or on the input's device, cpu, got meta",
            id="sizes-device",
        ),
    ],
)
@pytest.mark.parametrize("backend", BACKENDS)
def test_function_errors(change, error, message, backend):
    with pytest.raises(error, match=f"expected .*{message}"):
        functional.lstm2d(**(dict(input=X, weights=[ONE], backend=backend) | change))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        pytest.param(dict(cell="lstm"), ValueError, "cell to be one of .* got 'lstm'", id="cell"),
        pytest.param(dict(directions=3), ValueError, "directions to be 1, 2, 4 or a tuple .* got 3", id="number"),
        pytest.param(dict(directions=1.0), TypeError, "directions to be an int, got float", id="float"),
        pytest.param(dict(directions="tl"), TypeError, "directions to be 1, 2, 4 or a tuple .* got 'tl'", id="str"),
        pytest.param(dict(cell=["stable"]), ValueError, "cell to be one of .* got \\[.stable.\\]", id="cell-list"),
        pytest.param(dict(directions=([],)), ValueError, "different corners of .* got", id="corner-list"),
        pytest.param(dict(directions=True), TypeError, "directions to be an int, got bool", id="bool"),
        pytest.param(dict(directions=()), ValueError, r"different corners .* got \(\)", id="no-corner"),
        pytest.param(dict(directions=("tl", "tl")), ValueError, "different corners", id="corner-twice"),
        pytest.param(dict(directions=("tl", "rt")), ValueError, "different corners .* got", id="corner"),
        pytest.param(dict(merge="add"), ValueError, "merge to be .* got 'add'", id="merge"),
        *(
            pytest.param(
                dict(cell=c, peepholes=True), ValueError, f"no peepholes .* got cell '{c}'", id=f"peephole-{c}"
            )
            for c in ("pixelrnn", "stable", "leaky", "max")
        ),
        pytest.param(
            dict(cell="leaky", forget_bias=1.0),
            ValueError,
            "no forget_bias for cell 'leaky', which has no forget gate, got 1.0",
            id="leaky",
        ),
        pytest.param(
            dict(bias=False, forget_bias=1.0), ValueError, "no forget_bias for a layer without a bias", id="no-bias"
        ),
        pytest.param(dict(forget_bias="1"), TypeError, "forget_bias to be a number, got str", id="forget-str"),
        *(
            pytest.param(dict(forget_bias=float(value)), ValueError, f"finite forget_bias, got {value}", id=value)
            for value in ("nan", "inf", "-inf")
        ),
        pytest.param(dict(initial_state="one"), ValueError, "'zero' or 'learned', got 'one'", id="state"),
        pytest.param(dict(backend="cuda"), ValueError, "got 'cuda'", id="backend"),
    ],
)
def test_constructor_errors(options, error, message):
    with pytest.raises(error, match=f"expected .*{message}"):
        px.LSTM2d(3, 4, **options)
