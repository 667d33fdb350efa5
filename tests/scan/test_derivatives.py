import copy

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.func import functional_call, grad, jvp, vmap

import pixelrnn_ext as px
from helpers.checks import OperatorRecorder, assert_all_close, assert_close, native, randn64, subsets
from helpers.scans import (
    BACKENDS,
    DECOMPOSITION,
    LSTM2D,
    MASKED,
    OPS,
    case_problem,
    each_backend,
    each_kind,
    each_selected,
    gate_bias_channels,
    make_layer,
    results,
    scan_cases,
    selected_problem,
)
from helpers.selection import swept

SIZES = torch.tensor([(2, 3), (2, 1)])


def both_orders(function, leaves, **options):
    return gradcheck(function, leaves, fast_mode=True, **options) and gradgradcheck(function, leaves, fast_mode=True)


@native
@scan_cases(strength=1, sweep=60)
def test_the_operator_in_both_modes_and_orders(layer, layout, sources, states, ragged):
    """c and the gates are undefined outside of images, and left out if images are smaller than the map."""
    p = case_problem(layer, layout, sources, states, ragged, 2, (2, 2, 3))
    s = p.scan(requires_grad=True)

    def run(*operands):
        y, h, c, gates = OPS.scan(*s.with_operands(dict(zip(s.operands, operands))))
        outputs = [y, h] if s.merges else [h]
        return tuple(outputs if ragged else [*outputs, c, gates])

    assert both_orders(run, list(s.operands.values()), check_forward_ad=True)


def layer_problem(name, backend):
    layer = make_layer(name, 2, 2, directions=1, backend=backend, **{} if name in LSTM2D else {"image_channels": 2})
    parameters = {key: p.detach() for key, p in layer.named_parameters()}
    maps = [randn64(2, channels, 2, 3) for channels in (2, gate_bias_channels(layer))]
    tensors = dict(zip(("input", "gate_bias"), maps)) | parameters

    def run(tensors, sizes=None):
        maps = dict(gate_bias=tensors["gate_bias"], sizes=sizes)
        return functional_call(layer, {key: tensors[key] for key in parameters}, tensors["input"], maps)

    return run, tensors


@pytest.mark.covering(1)
@each_backend
@pytest.mark.parametrize("sizes", [None, SIZES], ids=["full", "ragged"])
@pytest.mark.parametrize("name", ["row3", "diagonal", "diagonal-reverse", "bilstm", *LSTM2D])
def test_layers(name, sizes, backend):
    run, tensors = layer_problem(name, backend)
    leaves = [t.clone().requires_grad_() for t in tensors.values()]
    assert both_orders(lambda *values: run(dict(zip(tensors, values)), sizes), leaves)


@pytest.mark.covering(1)
@pytest.mark.parametrize(
    "needed", [("weight_ih",), ("bias",), *subsets(["input", "weight_hh", "h0", "c0", "gate_bias"])], ids="+".join
)
@pytest.mark.parametrize("name", ["row3", "diagonal", "graves-peepholes"])
def test_every_subset_of_the_operands(name, needed):
    run, tensors = layer_problem(name, "native")
    needed = [key for key in tensors if key in needed or key.startswith("peephole")]
    leaves = [tensors[key].clone().requires_grad_() for key in needed]
    assert both_orders(lambda *values: run(tensors | dict(zip(needed, values))), leaves)


def test_third_derivative():
    layer = px.DiagonalBiLSTM(2, 2, dtype=torch.float64)
    x = randn64(1, 2, 2, 2).requires_grad_()
    found = []
    for layer.backend in BACKENDS:
        value = layer(x).square().sum()
        for _ in range(3):
            (gradient,) = torch.autograd.grad(value, x, create_graph=True)
            value = gradient.square().sum()
        found.append(gradient)
    assert_close("third derivative", *found, 1e-10)


# {operand with separate values for each image: its batch dimension}
AXES = {"input": 0, "x": 1, "sizes": 0}


def part(tensors, k):
    return {name: t[k] for name, t in tensors.items()}


class PerImage:
    """The gradient of each image's loss with respect to the parameters."""

    def __init__(self, layer):
        self.scan = selected_problem(layer, (3, 2, 3), hidden=3).scan()
        self.cotangent = randn64(3, 2, 3, 3)
        self.maps = {key: t for key in AXES if (t := getattr(self.scan, key)) is not None}
        self.parameters = {key: t for key, t in self.scan.operands.items() if key not in AXES}

    def loss(self, ops, parameters, maps, cotangent):
        maps = {key: t.unsqueeze(AXES[key]) for key, t in maps.items()}
        s = self.scan.with_operands(parameters | maps)
        y, h, *_ = ops.scan(*s)
        return ((y if s.merges else h[:, :, :, -1]) * cotangent[None]).sum()

    def gradients(self, ops, parameters):
        gradient = grad(lambda *args: self.loss(ops, *args))
        return vmap(gradient, (None, {key: AXES[key] for key in self.maps}, 0))(parameters, self.maps, self.cotangent)


@native
@each_selected
def test_gradients_of_every_image_take_one_scan_and_one_backward(layer):
    p = PerImage(layer)
    with OperatorRecorder(lambda function: function.namespace == "pixelrnn_ext") as recorder:
        got = p.gradients(OPS, p.parameters)
    assert recorder.names == ["scan", "scan_gradients"]
    for n in range(3):
        maps = {key: t.select(AXES[key], n) for key, t in p.maps.items()}
        alone = grad(lambda q: p.loss(OPS, q, maps, p.cotangent[n]))(p.parameters)  # noqa: B023
        assert_all_close(alone, part(got, n), 1e-12)


@native
@each_selected
def test_forward_derivatives_of_the_gradients_of_every_image(layer):
    p = PerImage(layer)
    tangents = {key: torch.randn_like(t) for key, t in p.parameters.items()}
    got, expected = (
        jvp(lambda q: p.gradients(ops, q), (p.parameters,), (tangents,))  # noqa: B023
        for ops in (OPS, DECOMPOSITION)
    )
    assert_all_close(expected[0], got[0], 1e-12)
    assert_all_close(expected[1], got[1], 1e-11)


@native
@pytest.mark.parametrize("name", ["row3", "bilstm", "graves-peepholes", *swept("row5", "diagonal-reverse", "stable")])
def test_gradients_of_every_image_compile_in_one_graph(name):
    p = PerImage(name)
    torch._dynamo.reset()
    compiled = torch.compile(lambda q: p.gradients(OPS, q), fullgraph=True, backend="aot_eager")(p.parameters)
    assert_all_close(p.gradients(OPS, p.parameters), compiled, 1e-12)


@pytest.mark.parametrize("name", ["bilstm", "masked"])
def test_compiled_by_inductor(name):
    layer = make_layer(name, 3, 4, dtype=torch.float32)
    compiled = copy.deepcopy(layer)
    compiled.compile(fullgraph=True)
    for layout in (torch.contiguous_format, torch.channels_last):
        x = torch.randn(2, 3, 4, 5).contiguous(memory_format=layout)
        got = results(compiled, x)
        assert_all_close(results(layer, x), got, 1e-6)
        assert name != "masked" or got["output"].is_contiguous(memory_format=layout)


@each_kind
def test_compiled_with_sizes_and_its_backward(name):
    layer = make_layer(name, backend="native")
    x = randn64(2, 2, 2, 3)
    torch._dynamo.reset()
    compiled = copy.deepcopy(layer)
    compiled.compile(fullgraph=True, backend="aot_eager")
    for sizes in (SIZES, SIZES.flip(0)):
        assert_all_close(results(layer, x, sizes), results(compiled, x, sizes), 1e-12)


@native
@pytest.mark.parametrize("name", ["bilstm", *MASKED])
def test_exported_with_a_dynamic_batch(name):
    layer = make_layer(name)
    batch, x = torch.export.Dim("batch"), randn64(7, 2, 3, 4)
    exported = torch.export.export(layer, (), {"input": x[:2]}, dynamic_shapes={"input": {0: batch}}).module()
    for images in (1, 2, 7):
        assert torch.equal(exported(input=x[:images]), layer(x[:images]))


@pytest.mark.parametrize("name", ["row3", "bilstm", "stable", *swept("row1", "row5", "diagonal", "diagonal-reverse")])
def test_exported_with_dynamic_sizes(name):
    layer = make_layer(name)
    rows = gate_bias_channels(layer)

    def maps(n, height, width):
        return {key: randn64(n, c, height, width) for key, c in (("input", 2), ("gate_bias", rows))}

    n, height, width = (torch.export.Dim(axis, min=2, max=64) for axis in ("n", "height", "width"))
    axes = {0: n, 2: height, 3: width}
    shapes = {"input": axes, "gate_bias": axes, "sizes": {0: n}}
    example = maps(2, 3, 4) | {"sizes": torch.tensor([(3, 4), (2, 2)])}
    exported = torch.export.export(layer, (), example, dynamic_shapes=shapes).module()
    other = maps(3, 5, 6) | {"sizes": torch.tensor([(5, 6), (0, 3), (4, 1)])}
    assert torch.equal(exported(**other), layer(**other))
