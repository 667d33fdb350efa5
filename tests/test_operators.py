"""The registration: fake kernels, opcheck, torch.compile, torch.export, autocast."""

import itertools

import pytest
import torch
from torch._subclasses import FakeTensorMode
from torch.library import opcheck

import pixelrnn_ext as px
from checks import LAYERS, assert_close, make_layer, opcheck_untraced
from pixelrnn_ext.operators.recurrence import eager

OPS = torch.ops.pixelrnn_ext
B, H, W, C, h = 2, 3, 4, 3, 5


def _rand(*size):
    return torch.randn(size, dtype=torch.float64, requires_grad=True)


def scan_arguments(directions, diagonal, reverse, *, maps=(B, H, W), x=True, states=True, input=True):
    taps, input_taps, kernel = (2, 1, 1) if diagonal else (3, 2, 3)
    return (
        _rand(directions, *maps, h, 4) if x else None,
        _rand(directions, taps, h, 4, h),
        _rand(directions, h) if states else None,
        _rand(directions, h) if states else None,
        _rand(*maps, C) if input else None,
        _rand(directions, input_taps, h, 4, C) if input else None,
        _rand(directions, h, 4) if input else None,
        kernel,
        diagonal,
        reverse,
    )


def laid_out_as_parameters(arguments):
    """The weights as a layer gives them, which are views of its parameters, and so are their gradients."""

    def permuted(t):  # [D, taps, h, 4, C] of [D, 4, h, C, taps], [D, h, 4] of [D, 4, h]
        order = (0, 3, 2, 4, 1) if t.dim() == 5 else (0, 2, 1)
        return t.permute(order).contiguous().permute([order.index(i) for i in range(t.dim())])

    return tuple(_leaf(permuted(t)) if i in (1, 5, 6) and t is not None else t for i, t in enumerate(arguments))


SCANS = [
    pytest.param(dict(directions=2, diagonal=True, reverse=False), id="bilstm"),
    pytest.param(dict(directions=1, diagonal=True, reverse=True, states=False, input=False), id="diagonal-bare"),
    pytest.param(dict(directions=1, diagonal=False, reverse=False, x=False), id="row"),
]


SCAN_OPERATORS = ["line_scan", "line_scan_backward", "line_scan_weight_grad", "line_scan_gradients", "bilstm_scan"]
# Of operator_calls: the last two are of two directions.
CALLS = [*SCAN_OPERATORS, "gradients of the merged map"]
SCANS_AND_CALLS = [
    pytest.param(*scan.values, call, id=f"{scan.id}-{name}")
    for scan in SCANS
    for call, name in enumerate(CALLS[: 4 if scan.values[0]["directions"] == 1 else None])
]

QUICK = {"diagonal-bare-line_scan", "row-line_scan_backward"}


def _leaf(t):
    return t if t is None else t.detach().requires_grad_()


def operator_calls(arguments, ops=OPS):
    """(operator, arguments) of CALLS."""
    _, weight, h0, c0, input, weight_ih, bias, kernel, *scan = arguments
    hs, cs, gates = ops.line_scan(*arguments)
    backward = (_leaf(torch.randn_like(hs)), weight, h0, c0, _leaf(cs), _leaf(gates), *scan)
    dx = _leaf(ops.line_scan_backward(*backward)[0])
    input_taps = 0 if weight_ih is None else weight_ih.shape[1]
    weight_grad = (dx, _leaf(hs), h0, input, weight.shape[1], input_taps, kernel, bias is not None, *scan)
    wanted = arguments[0] is not None, True, input is not None, input is not None, bias is not None
    dh, _, _, _, c, gates, *_ = backward
    gradients = (dh, weight, h0, c0, input, weight_ih, _leaf(hs), c, gates, kernel, *scan, *wanted)
    calls = [
        (ops.line_scan.default, arguments),
        (ops.line_scan_backward.default, backward),
        (ops.line_scan_weight_grad.default, weight_grad),
        (ops.line_scan_gradients.default, gradients),
    ]
    if weight.shape[0] == 2:
        merged = _leaf(torch.randn_like(dh[0])), *gradients[1:]
        calls += [(ops.bilstm_scan.default, arguments), (ops.line_scan_gradients.default, merged)]
    return calls


@pytest.mark.parametrize(("scan", "call"), SCANS_AND_CALLS)
def test_opcheck_untraced(scan, call):
    opcheck_untraced(*operator_calls(scan_arguments(**scan))[call])


@pytest.mark.parametrize(
    ("scan", "call"),
    [pytest.param(*p.values, id=p.id, marks=() if p.id in QUICK else pytest.mark.sweep) for p in SCANS_AND_CALLS],
)
def test_opcheck(scan, call):
    """On a small map, since the decompositions are traced line by line."""
    opcheck(*operator_calls(scan_arguments(maps=(B, 2, 3), **scan))[call])


@pytest.mark.parametrize("lies", [tuple, laid_out_as_parameters], ids=["dense", "parameters"])
@pytest.mark.parametrize("scan", SCANS)
def test_fake_kernels_have_the_real_shapes_strides_and_dtypes(scan, lies):
    with torch.no_grad():
        for operator, arguments in operator_calls(lies(scan_arguments(**scan))):
            real = operator(*arguments)
            with FakeTensorMode() as mode:
                fake = operator(*(mode.from_tensor(a) if isinstance(a, torch.Tensor) else a for a in arguments))
            for a, b in zip(real, fake):
                assert (a.shape, a.stride(), a.dtype) == (b.shape, b.stride(), b.dtype), operator


@pytest.mark.parametrize(
    "wanted", list(itertools.product([False, True], repeat=5)), ids=lambda wanted: "".join(map(str, map(int, wanted)))
)
def test_gradients_that_are_not_wanted_have_no_elements_and_change_no_other(wanted):
    with torch.no_grad():
        operator, arguments = operator_calls(scan_arguments(directions=2, diagonal=True, reverse=False))[3]
        everything = operator(*arguments)
        arguments = (*arguments[:12], *wanted)
        got, parts = operator(*arguments), eager.line_scan_gradients(*arguments)
    outputs = zip((*wanted[:2], True, True, *wanted[2:]), got, parts, everything)  # dh0 and dc0 always
    for want, a, b, whole in outputs:
        assert a.shape == b.shape == (whole.shape if want else (0, *whole.shape[1:]))
        assert not want or torch.equal(a, whole)


@pytest.mark.parametrize("name", [pytest.param("row3", marks=pytest.mark.sweep), "bilstm"])
def test_compile_fullgraph(name):
    layer = make_layer(name, 3, 4, image_channels=3, initial_state="learned")
    compiled = torch.compile(layer, fullgraph=True)
    x = torch.randn(2, 3, 4, 5, requires_grad=True)
    leaves = [x, *layer.parameters()]
    results = []
    for make in (layer, compiled):
        y = make(x)
        results.append([y, *torch.autograd.grad(y, leaves, torch.ones_like(y))])
    for i, (a, b) in enumerate(zip(*results)):
        assert_close(str(i), a, b, 1e-6)


@pytest.mark.parametrize("name", LAYERS)
def test_export_with_a_dynamic_batch(name):
    layer = make_layer(name, 3, 4)
    exported = torch.export.export(layer, (torch.randn(2, 3, 4, 5),), dynamic_shapes=({0: torch.export.Dim("batch")},))
    for n in (1, 2, 7):
        x = torch.randn(n, 3, 4, 5)
        assert torch.equal(exported.module()(x), layer(x))


@pytest.mark.parametrize("backend", ["native", "reference"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bfloat16", "float16"])
def test_autocast_returns_its_dtype_and_keeps_the_state_in_float32(dtype, backend):
    layer = make_layer("bilstm", 3, 4, backend=backend)
    x = torch.randn(2, 3, 4, 5)
    with torch.autocast("cpu", dtype):
        from_float, from_half = layer(x), layer(x.to(dtype))
        op = OPS.line_scan(None, *(t.to(dtype) for t in _float32_scan()), None, 1, True, False)
    assert from_float.dtype == from_half.dtype == dtype
    assert all(t.dtype == torch.float32 for t in op)
    assert_close("output", layer(x), from_float, torch.finfo(dtype).eps)
    assert torch.equal(from_half, layer(x.to(dtype).float()).to(dtype))


def _float32_scan():
    return [torch.randn(s) for s in ((1, 2, h, 4, h), (1, h), (1, h), (B, H, W, C), (1, 1, h, 4, C))]


def test_autocast_leaves_float64_alone():
    layer = px.RowLSTM(3, 4, dtype=torch.float64)
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    assert torch.equal(y, layer(x))


def test_layers_run_on_the_meta_device():
    layer = px.DiagonalBiLSTM(3, 4, device="meta")
    assert layer(torch.empty(2, 3, 4, 5, device="meta")).shape == (2, 4, 4, 5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({1: lambda t: t[:, :1]}, "2 taps", id="taps"),
        pytest.param({2: lambda t: t[:, 1:]}, "h0 has the wrong shape", id="h0"),
        pytest.param({0: lambda t: t.float()}, "x has another dtype", id="dtype"),
        pytest.param({4: lambda t: None}, "input and weight_ih go together", id="input"),
        pytest.param(
            {0: lambda t: t.new_empty(1, 1 << 31, 0, 1, h, 4)},
            "expected fewer than 2\\^31 images of all directions, got 2147483648 images in 1 directions",
            id="images",
        ),
    ],
)
def test_the_operator_itself_checks_its_arguments(change, message):
    arguments = list(scan_arguments(1, True, False))
    for i, f in change.items():
        arguments[i] = f(arguments[i])
    with pytest.raises(RuntimeError, match=message):
        OPS.line_scan(*arguments)
