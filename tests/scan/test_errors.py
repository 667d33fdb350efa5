import re

import pytest
import torch

import pixelrnn_ext as px
from helpers.scans import each_backend
from pixelrnn_ext import functional
from pixelrnn_ext.functional import Direction2d

X = torch.randn(2, 3, 4, 5)
ROW = dict(weight_ih=torch.randn(16, 3, 1, 3), weight_hh=torch.randn(16, 4, 3))
DIAGONAL = dict(weight_ih=torch.randn(16, 3, 1, 1), weight_hh=torch.randn(16, 4, 2))
KERNEL = torch.randn(8, 3, 3, 3)
ONE = Direction2d(torch.randn(20, 3, 1, 1), torch.randn(20, 4, 2))
SIZES = torch.tensor([(4, 5), (2, 3)])
FUNCTIONS = {
    "row_lstm": ROW,
    "diagonal_lstm": DIAGONAL,
    "diagonal_bilstm": DIAGONAL | {f"{name}_reverse": weight for name, weight in DIAGONAL.items()},
    "lstm2d": dict(weights=[ONE]),
    "masked_conv2d": dict(weight=KERNEL),
}
# {case: (arguments that every function of FUNCTIONS refuses, type of the error, its message)}
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


@each_backend
@pytest.mark.parametrize("wrong", FOR_ALL)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_function(function, wrong, backend):
    change, error, message = FOR_ALL[wrong]
    with pytest.raises(error, match=f"expected .*{message}"):
        call(function, **dict(backend=backend) | change)


PEEPHOLE, TALLER = torch.zeros(3, 4), ONE._replace(weight_hh=torch.randn(25, 5, 2))
CORNERS = "different corners of 'tl', 'tr', 'bl', 'br', got"
OF_EACH_IMAGE = "a height and a width for each image, got"
INTEGERS = "sizes as a Tensor of integers (uint8, int8, int16, int32 or int64), got"
TRANSPOSED = dict(input=X[:1], sizes=torch.tensor([[4], [5]]))


def one(**change):
    return dict(weights=[ONE._replace(**change)])


WRONG_VALUES = {
    "row_lstm": [
        (dict(weight_hh=torch.randn(16, 4, 2)), "odd number of taps in weight_hh, got 2"),
        (dict(weight_ih=torch.randn(16, 3, 1, 2)), "odd kernel in weight_ih, got 2"),
        (dict(weight_hh=torch.randn(15, 4, 3)), "weight_hh of shape (4 * hidden, hidden, taps), got (15, 4, 3)"),
        (dict(bias=torch.randn(4)), "bias of shape (16,), got (4,)"),
        (dict(h0=torch.randn(2, 4)), "h0 of shape (4,), got (2, 4)"),
        (dict(gate_bias=X), "gate_bias broadcastable to (2, 16, 4, 5), got (2, 3, 4, 5)"),
        (dict(mask_type="C"), "mask_type to be 'A', 'B' or None, got 'C'"),
        (dict(mask_type="B", image_channels=5), "one channel for each of 5 image_channels, got 4"),
        (dict(backend="fast"), "'auto', 'native', 'step', 'resident', 'reference', got 'fast'"),
    ],
    "diagonal_bilstm": [
        (dict(weight_hh=ROW["weight_hh"]), "weight_hh of shape (4 * hidden, hidden, 2), got (16, 4, 3)"),
        (dict(weight_ih_reverse=ROW["weight_ih"]), "weight_ih_reverse of shape (16, 3, 1, 1), got (16, 3, 1, 3)"),
    ],
    "lstm2d": [
        (dict(cell="lstm"), "one of 'pixelrnn', 'stable', 'graves', 'halved', 'leaky', 'max', got 'lstm'"),
        (dict(corners=("top",)), f"{CORNERS} ('top',)"),
        (dict(corners=("tl", "tl"), weights=[ONE] * 2), f"{CORNERS} ('tl', 'tl')"),
        (dict(corners=(), weights=[]), f"{CORNERS} ()"),
        (dict(merge="add"), "merge to be 'concat', 'sum', 'mean' or None, got 'add'"),
        (dict(weights=[ONE] * 2), "weights of 1 directions, one for each corner, got 2"),
        (one(peephole=PEEPHOLE), "peepholes only with cell 'graves' or 'halved', got cell 'stable'"),
        (one(peephole=PEEPHOLE) | dict(cell="graves"), "peephole of shape (4, 4), got (3, 4)"),
        (dict(cell="pixelrnn"), "weight_hh of shape (4 * hidden, hidden, 2) for cell 'pixelrnn', got (20, 4, 2)"),
        (
            dict(corners=("tl", "br"), weights=[ONE, TALLER]),
            "weight_hh_up_reverse of shape (20, 4, 2) for cell 'stable', got (25, 5, 2)",
        ),
        (one(bias=torch.zeros(4)), "bias of shape (20,), got (4,)"),
        (one(h0=torch.zeros(2, 4)), "h0 of shape (4,), got"),
        (dict(sizes=SIZES[:1]), f"sizes of shape (2, 2), {OF_EACH_IMAGE} (1, 2)"),
        (TRANSPOSED, f"sizes of shape (1, 2), {OF_EACH_IMAGE} (2, 1), which is transposed"),
        (dict(sizes=SIZES.to("meta")), "sizes on the CPU or on the input's device, cpu, got meta"),
        *(
            (dict(sizes=torch.tensor(sizes)), f"sizes from 0 x 0 to 4 x 5, got {got}")
            for got, sizes in {
                "5 x 5 of image 1": [(4, 5), (5, 5)],
                "4 x 6 of image 0": [(4, 6), (2, 3)],
                "2 x -1 of image 1": [(4, 5), (2, -1)],
            }.items()
        ),
    ],
    "masked_conv2d": [
        (dict(weight=KERNEL[0]), "weight of shape (out_channels, 3, kh, kw), got (3, 3, 3)"),
        (dict(weight=KERNEL[..., :2]), "odd kernel in weight, got 3 x 2"),
        (dict(bias=torch.ones(4)), "bias of shape (8,), got (4,)"),
        *((dict(mask_type=wrong), f"mask_type to be 'A' or 'B', got {wrong!r}") for wrong in ("C", None)),
        (dict(image_channels=5), "each of 5 image_channels, got 3"),
        (dict(image_channels=3, gates=4), "each of 3 image_channels, got 2"),
        (dict(image_channels=0), "image_channels >= 1, got 0"),
        (dict(gates=3), "out_channels divisible by 3 gates, got 8"),
        (dict(activation="tanh"), "activation to be 'relu' or None, got 'tanh'"),
        (dict(backend="step"), "backend to be one of 'auto', 'native', 'reference', got 'step'"),
    ],
}
WRONG_TYPES = {
    "row_lstm": [(dict(weight_hh=None), "weight_hh to be a Tensor, got NoneType")],
    "lstm2d": [
        (dict(weights=[tuple(ONE)]), "weights to be of functional.Direction2d, got tuple"),
        (one(weight_hh=None), "weight_hh to be a Tensor, got NoneType"),
        (dict(sizes=SIZES.tolist()), f"{INTEGERS} list"),
        (dict(sizes=SIZES.float()), f"{INTEGERS} torch.float32"),
        (dict(sizes=SIZES.to(torch.uint16)), f"{INTEGERS} torch.uint16"),
        (dict(sizes=SIZES.bool()), f"{INTEGERS} torch.bool"),
    ],
    "masked_conv2d": [
        (dict(weight=None), "weight to be a Tensor, got NoneType"),
        (dict(gates=1.0), "gates to be an int, got float"),
    ],
}


def cases(wrong_values, wrong_types):
    return [
        pytest.param(error, group, *wrong, id=f"{group}-{wrong[1]}")
        for error, table in ((ValueError, wrong_values), (TypeError, wrong_types))
        for group, wrongs in table.items()
        for wrong in wrongs
    ]


@each_backend
@pytest.mark.parametrize(("error", "function", "change", "message"), cases(WRONG_VALUES, WRONG_TYPES))
def test_one_function(error, function, change, message, backend):
    with pytest.raises(error, match=f"expected .*{re.escape(message)}"):
        call(function, **dict(backend=backend) | change)


WRONG_OPTIONS = {
    "RowLSTM": [
        (dict(kernel_size=2), "an odd kernel_size, got 2"),
        (dict(mask_type="C"), "mask_type to be 'A', 'B' or None, got 'C'"),
        (dict(initial_state="one"), "'zero' or 'learned', got 'one'"),
        (dict(in_channels=2, image_channels=3), "each of 3 image_channels, got 2"),
    ],
    "DiagonalLSTM": [(dict(hidden_channels=0), "hidden_channels >= 1, got 0")],
    "DiagonalBiLSTM": [(dict(backend="cuda"), "got 'cuda'")],
    "LSTM2d": [
        (dict(cell="lstm"), "cell to be one of 'pixelrnn', 'stable', 'graves', 'halved', 'leaky', 'max', got 'lstm'"),
        (dict(cell=["stable"]), "'leaky', 'max', got ['stable']"),
        (dict(directions=3), "directions to be 1, 2, 4 or a tuple of corners, got 3"),
        (dict(directions=([],)), CORNERS),
        (dict(directions=()), f"{CORNERS} ()"),
        (dict(directions=("tl", "tl")), CORNERS),
        (dict(directions=("tl", "rt")), CORNERS),
        (dict(merge="add"), "merge to be 'concat', 'sum', 'mean' or None, got 'add'"),
        (dict(cell="leaky", forget_bias=1.0), "no forget_bias for cell 'leaky', which has no forget gate, got 1.0"),
        (dict(bias=False, forget_bias=1.0), "no forget_bias for a layer without a bias"),
        (dict(initial_state="one"), "'zero' or 'learned', got 'one'"),
        (dict(backend="cuda"), "got 'cuda'"),
        *(
            (dict(cell=cell, peepholes=True), f"peepholes only with cell 'graves' or 'halved', got cell '{cell}'")
            for cell in ("pixelrnn", "stable", "leaky", "max")
        ),
        *((dict(forget_bias=float(value)), f"finite forget_bias, got {value}") for value in ("nan", "inf", "-inf")),
    ],
    "MaskedConv2d": [
        (dict(kernel_size=2), "an odd kernel_size, got 2"),
        (dict(kernel_size=(3, 3, 3)), "an int or (height, width), got (3, 3, 3)"),
        (dict(in_channels=0), "in_channels >= 1, got 0"),
        (dict(mask_type="C"), "mask_type to be 'A' or 'B', got 'C'"),
        (dict(in_channels=2, image_channels=3), "each of 3 image_channels, got 2"),
        (dict(activation="gelu"), "activation to be 'relu' or None"),
        (dict(backend="fast"), "got 'fast'"),
    ],
}
OPTIONS_OF_A_WRONG_TYPE = {
    "RowLSTM": [(dict(in_channels=3.0), "in_channels to be an int, got float")],
    "LSTM2d": [
        (dict(directions=1.0), "directions to be an int, got float"),
        (dict(directions=True), "directions to be an int, got bool"),
        (dict(directions="tl"), "directions to be 1, 2, 4 or a tuple of corners, got 'tl'"),
        (dict(forget_bias="1"), "forget_bias to be a number, got str"),
    ],
    "MaskedConv2d": [(dict(kernel_size=3.0), "kernel_size to be an int, got float")],
}
GOOD_OPTIONS = {layer: dict(in_channels=3, hidden_channels=4) for layer in WRONG_OPTIONS}
GOOD_OPTIONS["MaskedConv2d"] = dict(in_channels=4, out_channels=6, kernel_size=3, mask_type="A")


@pytest.mark.parametrize(("error", "layer", "options", "message"), cases(WRONG_OPTIONS, OPTIONS_OF_A_WRONG_TYPE))
def test_constructors(error, layer, options, message):
    with pytest.raises(error, match=f"expected .*{re.escape(message)}"):
        getattr(px, layer)(**GOOD_OPTIONS[layer] | options)


@pytest.mark.parametrize(
    ("backend", "device", "message"),
    [
        ("native", "meta", "the native kernels run on CPU and CUDA tensors, got tensors on meta"),
        *((path, "cpu", "it is a path of the CUDA kernels, got tensors on cpu") for path in ("step", "resident")),
    ],
)
@pytest.mark.parametrize("layer", [px.RowLSTM, px.LSTM2d])
def test_a_backend_that_cannot_run_says_why(layer, backend, device, message):
    with pytest.raises(RuntimeError, match=f"backend='{backend}' cannot run: {message}"):
        layer(3, 4, backend=backend, device=device)(X.to(device))
