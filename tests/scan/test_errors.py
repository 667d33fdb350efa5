"""What the functions and layers of the scans refuse, and what they say then."""

import pytest
import torch

import pixelrnn_ext as px
from helpers.scans import BACKENDS
from pixelrnn_ext import functional
from pixelrnn_ext.functional import Direction2d

X = torch.randn(2, 3, 4, 5)
ROW = dict(weight_ih=torch.randn(16, 3, 1, 3), weight_hh=torch.randn(16, 4, 3))
DIAGONAL = dict(weight_ih=torch.randn(16, 3, 1, 1), weight_hh=torch.randn(16, 4, 2))
ONE = Direction2d(torch.randn(20, 3, 1, 1), torch.randn(20, 4, 2))
SIZES = torch.tensor([(4, 5), (2, 3)])
FUNCTIONS = {
    "row_lstm": ROW,
    "diagonal_lstm": DIAGONAL,
    "diagonal_bilstm": DIAGONAL | {f"{name}_reverse": weight for name, weight in DIAGONAL.items()},
    "lstm2d": dict(weights=[ONE]),
    "masked_conv2d": dict(weight=torch.randn(8, 3, 3, 3)),
}
# Inputs that fit no function, and names of backends.
FOR_ALL = {
    "rank": (dict(input=X[0]), ValueError, r"input of shape \(N, C, H, W\), got \(3, 4, 5\)"),
    "empty": (dict(input=X[:, :, :0]), ValueError, r"H >= 1 and W >= 1, got \(2, 3, 0, 5\)"),
    "channels": (dict(input=X[:, :2]), ValueError, r"weight(_ih)? of shape \(\w+, 2, .*\), got \(\d+, 3, "),
    "dtype": (
        dict(input=X.double()),
        TypeError,
        r"one dtype, got input of torch.float64 and weight\w* of torch.float32",
    ),
    "integers": (dict(input=X.long()), TypeError, "floating-point dtype .* got torch.int64"),
    "list": (dict(input=X.tolist()), TypeError, "input to be a Tensor, got list"),
    "device": (dict(input=X.to("meta")), ValueError, "one device, got input on meta and weight(_ih)? on cpu"),
    "backend": (dict(backend="fast"), ValueError, "backend to be one of 'auto', 'native', .*'reference', got 'fast'"),
}


def call(function, **change):
    return getattr(functional, function)(**dict(input=X) | FUNCTIONS[function] | change)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("wrong", FOR_ALL)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_function(function, wrong, backend):
    change, error, message = FOR_ALL[wrong]
    with pytest.raises(error, match=f"expected .*{message}"):
        call(function, **dict(backend=backend) | change)


ROW_LSTM = {
    "missing": (dict(weight_hh=None), TypeError, "weight_hh to be a Tensor, got NoneType"),
    "even taps": (dict(weight_hh=torch.randn(16, 4, 2)), ValueError, "odd number of taps in weight_hh, got 2"),
    "even kernel": (dict(weight_ih=torch.randn(16, 3, 1, 2)), ValueError, "odd kernel in weight_ih, got 2"),
    "gates": (
        dict(weight_hh=torch.randn(15, 4, 3)),
        ValueError,
        r"weight_hh of shape \(4 \* hidden, hidden, taps\), got \(15, 4, 3\)",
    ),
    "bias": (dict(bias=torch.randn(4)), ValueError, r"bias of shape \(16,\), got \(4,\)"),
    "h0": (dict(h0=torch.randn(2, 4)), ValueError, r"h0 of shape \(4,\), got \(2, 4\)"),
    "gate_bias": (
        dict(gate_bias=torch.randn(2, 8, 4, 5)),
        ValueError,
        r"gate_bias broadcastable to \(2, 16, 4, 5\), got \(2, 8, 4, 5\)",
    ),
    "mask_type": (dict(mask_type="C"), ValueError, "mask_type to be 'A', 'B' or None, got 'C'"),
    "colours": (dict(mask_type="B", image_channels=5), ValueError, "one channel for each of 5 image_channels, got 4"),
    "backends": (dict(backend="fast"), ValueError, "'auto', 'native', 'step', 'resident', 'reference', got 'fast'"),
}
DIAGONAL_BILSTM = {
    "taps": (
        dict(weight_hh=ROW["weight_hh"]),
        ValueError,
        r"weight_hh of shape \(4 \* hidden, hidden, 2\), got \(16, 4, 3\)",
    ),
    "second direction": (
        dict(weight_ih_reverse=ROW["weight_ih"]),
        ValueError,
        r"weight_ih_reverse of shape \(16, 3, 1, 1\), got \(16, 3, 1, 3\)",
    ),
}


def one(**change):
    return dict(weights=[ONE._replace(**change)])


LSTM2D = {
    "cell": (
        dict(cell="lstm"),
        ValueError,
        "cell to be one of 'pixelrnn', 'stable', 'graves', 'halved', 'leaky', 'max', got 'lstm'",
    ),
    "corner": (dict(corners=("top",)), ValueError, r"corners of 'tl', 'tr', 'bl', 'br', got \('top',\)"),
    "corner twice": (dict(corners=("tl", "tl"), weights=[ONE] * 2), ValueError, r"different corners .* \('tl', 'tl'\)"),
    "no corner": (dict(corners=(), weights=[]), ValueError, r"different corners .* got \(\)"),
    "merge": (dict(merge="add"), ValueError, "merge to be 'concat', 'sum', 'mean' or None, got 'add'"),
    "tuple": (dict(weights=[tuple(ONE)]), TypeError, "weights to be of functional.Direction2d, got tuple"),
    "directions": (dict(weights=[ONE] * 2), ValueError, "weights of 1 directions, one for each corner, got 2"),
    "a peephole of another cell": (
        one(peephole=torch.zeros(4, 4)),
        ValueError,
        "no peepholes but for cell 'graves' or 'halved', got cell 'stable'",
    ),
    "peephole": (
        one(peephole=torch.zeros(3, 4)) | dict(cell="graves"),
        ValueError,
        r"peephole of shape \(4, 4\), got \(3, 4\)",
    ),
    "missing": (one(weight_hh=None), TypeError, "weight_hh to be a Tensor, got NoneType"),
    "gates": (
        dict(cell="pixelrnn"),
        ValueError,
        r"weight_hh of shape \(4 \* hidden, hidden, 2\) for cell 'pixelrnn', got \(20, 4, 2\)",
    ),
    "hidden of another direction": (
        dict(corners=("tl", "br"), weights=[ONE, ONE._replace(weight_hh=torch.randn(25, 5, 2))]),
        ValueError,
        r"weight_hh_up_reverse of shape \(20, 4, 2\) for cell 'stable', got \(25, 5, 2\)",
    ),
    "bias": (one(bias=torch.zeros(4)), ValueError, r"bias of shape \(20,\), got \(4,\)"),
    "h0": (one(h0=torch.zeros(2, 4)), ValueError, r"h0 of shape \(4,\), got"),
}
INTEGERS = r"sizes as a Tensor of integers \(uint8, int8, int16, int32 or int64\), got "
WRONG_SIZES = {
    "list": ([(4, 5), (2, 3)], TypeError, INTEGERS + "list"),
    "float": (SIZES.float(), TypeError, INTEGERS + "torch.float32"),
    "uint16": (SIZES.to(torch.uint16), TypeError, INTEGERS + "torch.uint16"),
    "bool": (SIZES.bool(), TypeError, INTEGERS + "torch.bool"),
    "fewer images": (
        SIZES[:1],
        ValueError,
        r"sizes of shape \(2, 2\), a height and a width for each image, got \(1, 2\)$",
    ),
    "too high": (torch.tensor([(4, 5), (5, 5)]), ValueError, "sizes from 0 x 0 to 4 x 5, got 5 x 5 of image 1"),
    "too wide": (torch.tensor([(4, 6), (2, 3)]), ValueError, "sizes from 0 x 0 to 4 x 5, got 4 x 6 of image 0"),
    "negative": (torch.tensor([(4, 5), (2, -1)]), ValueError, "got 2 x -1 of image 1"),
    "device": (SIZES.to("meta"), ValueError, "sizes on the CPU or on the input's device, cpu, got meta"),
}
LSTM2D |= {f"sizes, {name}": (dict(sizes=sizes), *rest) for name, (sizes, *rest) in WRONG_SIZES.items()}
LSTM2D["sizes, transposed"] = (
    dict(input=X[:1], sizes=torch.tensor([[4], [5]])),
    ValueError,
    r"sizes of shape \(1, 2\), a height and a width for each image, got \(2, 1\), which is transposed",
)
OF_FUNCTIONS = {"row_lstm": ROW_LSTM, "diagonal_bilstm": DIAGONAL_BILSTM, "lstm2d": LSTM2D}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("function", "wrong"), [(f, name) for f, wrongs in OF_FUNCTIONS.items() for name in wrongs])
def test_one_function(function, wrong, backend):
    change, error, message = OF_FUNCTIONS[function][wrong]
    with pytest.raises(error, match=f"expected .*{message}"):
        call(function, **dict(backend=backend) | change)


OF_LAYERS = {
    "even kernel": (lambda: px.RowLSTM(3, 4, 2), ValueError, "an odd kernel_size, got 2"),
    "float": (lambda: px.RowLSTM(3.0, 4), TypeError, "in_channels to be an int, got float"),
    "zero": (lambda: px.DiagonalLSTM(3, 0), ValueError, "hidden_channels >= 1, got 0"),
    "mask": (lambda: px.RowLSTM(3, 4, mask_type="C"), ValueError, "mask_type to be 'A', 'B' or None, got 'C'"),
    "state": (lambda: px.RowLSTM(3, 4, initial_state="one"), ValueError, "'zero' or 'learned', got 'one'"),
    "colours": (lambda: px.RowLSTM(2, 4, image_channels=3), ValueError, "each of 3 image_channels, got 2"),
    "backend": (lambda: px.DiagonalBiLSTM(3, 4, backend="cuda"), ValueError, "got 'cuda'"),
}
OPTIONS = {  # of LSTM2d
    "cell": (dict(cell="lstm"), ValueError, "cell to be one of .* got 'lstm'"),
    "cell list": (dict(cell=["stable"]), ValueError, r"cell to be one of .* got \['stable'\]"),
    "number": (dict(directions=3), ValueError, "directions to be 1, 2, 4 or a tuple .* got 3"),
    "float": (dict(directions=1.0), TypeError, "directions to be an int, got float"),
    "bool": (dict(directions=True), TypeError, "directions to be an int, got bool"),
    "str": (dict(directions="tl"), TypeError, "directions to be 1, 2, 4 or a tuple .* got 'tl'"),
    "corner list": (dict(directions=([],)), ValueError, "different corners of .* got"),
    "no corner": (dict(directions=()), ValueError, r"different corners .* got \(\)"),
    "corner twice": (dict(directions=("tl", "tl")), ValueError, "different corners"),
    "corner": (dict(directions=("tl", "rt")), ValueError, "different corners .* got"),
    "merge": (dict(merge="add"), ValueError, "merge to be .* got 'add'"),
    "leaky": (
        dict(cell="leaky", forget_bias=1.0),
        ValueError,
        "no forget_bias for cell 'leaky', which has no forget gate, got 1.0",
    ),
    "no bias": (dict(bias=False, forget_bias=1.0), ValueError, "no forget_bias for a layer without a bias"),
    "forget_bias": (dict(forget_bias="1"), TypeError, "forget_bias to be a number, got str"),
    "state": (dict(initial_state="one"), ValueError, "'zero' or 'learned', got 'one'"),
    "backend": (dict(backend="cuda"), ValueError, "got 'cuda'"),
}
for _cell in ("pixelrnn", "stable", "leaky", "max"):
    OPTIONS[f"peepholes of {_cell}"] = (dict(cell=_cell, peepholes=True), ValueError, f"no peepholes .* cell '{_cell}'")
for _value in ("nan", "inf", "-inf"):
    OPTIONS[_value] = (dict(forget_bias=float(_value)), ValueError, f"finite forget_bias, got {_value}")
OF_LAYERS |= {
    f"LSTM2d, {name}": (lambda options=options: px.LSTM2d(3, 4, **options), *rest)
    for name, (options, *rest) in OPTIONS.items()
}


@pytest.mark.parametrize("name", OF_LAYERS)
def test_constructors(name):
    make, error, message = OF_LAYERS[name]
    with pytest.raises(error, match=f"expected .*{message}"):
        make()


@pytest.mark.parametrize(
    ("backend", "device", "message"),
    [
        ("native", "meta", "the native kernels run on CPU and CUDA tensors, got tensors on meta"),
        ("step", "cpu", "it is a path of the CUDA kernels, got tensors on cpu"),
        ("resident", "cpu", "it is a path of the CUDA kernels, got tensors on cpu"),
    ],
)
@pytest.mark.parametrize("layer", [px.RowLSTM, px.LSTM2d])
def test_a_backend_that_cannot_run_says_why(layer, backend, device, message):
    with pytest.raises(RuntimeError, match=f"backend='{backend}' cannot run: {message}"):
        layer(3, 4, backend=backend, device=device)(X.to(device))
