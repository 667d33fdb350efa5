"""The operator of two directions that are merged, against the scan of both and the definition, and under PyTorch's
transforms. That its outputs are right to the bit in any layout, on any threads: tests/native/check_scan.cpp."""

import pytest
import torch

import pixelrnn_ext as px
from pixelrnn_ext.operators.library import why_no_native
from pixelrnn_ext.operators.recurrence import eager
from test_operators import scan_arguments

pytestmark = pytest.mark.skipif(why_no_native() is not None, reason=f"no CPU kernels: {why_no_native()}")

OPS = torch.ops.pixelrnn_ext


def merge(h):
    y = h[0].clone()
    y[:, 1:] += h[1, :, :-1]
    return y


def inputs(**options):
    """The tensors, and a function of them to y, h, c, gates by either implementation."""
    arguments = scan_arguments(2, True, False, **options)
    tensors, rest = arguments[:7], arguments[7:]
    return tensors, lambda scan: lambda *t: scan(*t, *rest)


def test_values_and_the_adjoint_of_the_merge():
    tensors, by = inputs()
    y, *maps = by(OPS.bilstm_scan)(*tensors)
    assert all(map(torch.equal, maps, by(OPS.line_scan)(*tensors))) and torch.equal(y, merge(maps[0]))
    h, dy = torch.randn(2, 2, 3, 4, 5, dtype=torch.float64), torch.randn(2, 3, 4, 5, dtype=torch.float64)
    assert torch.equal(eager.merge_directions(h), merge(h))
    (dh,) = torch.autograd.grad(merge(h.requires_grad_()), h, dy)
    assert torch.equal(eager.split_directions(dy), dh)


def test_derivatives_of_any_mode_and_order():
    tensors, by = inputs()
    assert torch.autograd.gradcheck(by(OPS.bilstm_scan), tensors, check_forward_ad=True, fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda *t: by(OPS.bilstm_scan)(*t)[0], tensors, fast_mode=True)
    tensors = [t.detach() for t in tensors]

    def loss(scan):
        return lambda bias: by(scan)(*tensors[:6], bias)[0].square().sum()

    for transform in (torch.func.grad, torch.func.hessian, torch.func.jacrev):
        got, expected = (transform(loss(scan))(tensors[6]) for scan in (OPS.bilstm_scan, eager.bilstm_scan))
        assert torch.allclose(got, expected)


def test_a_derivative_through_the_maps_of_the_directions():
    """Where h is used beside y, both gradients arrive."""
    tensors, by = inputs(states=False, input=False)
    wanted = [t for t in tensors if t is not None]
    results = []
    for scan in (OPS.bilstm_scan, eager.bilstm_scan):
        y, h, _, _ = by(scan)(*tensors)
        results.append(torch.autograd.grad(y.sin().sum() + h.cos().sum(), wanted))
    assert all(map(torch.allclose, *results))


@pytest.mark.parametrize("axis", [1, 3], ids=["in the middle", "behind"])
def test_vmap_and_compile(axis):
    tensors, by = inputs(input=False)
    scan = by(OPS.bilstm_scan)
    tensors = [t if t is None else t.detach() for t in tensors]
    xs = torch.stack([tensors[0] * n for n in range(3)], axis)
    expected = [torch.stack(maps) for maps in zip(*(scan(x, *tensors[1:]) for x in xs.unbind(axis)))]
    got = torch.func.vmap(lambda x: scan(x, *tensors[1:]), axis)(xs)
    assert all(map(torch.equal, got, expected))
    compiled = torch.compile(scan, fullgraph=True, backend="aot_eager")
    assert all(map(torch.equal, compiled(*tensors), scan(*tensors)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        pytest.param(lambda a: OPS.bilstm_scan(*a), "expected 2 directions, got 1", id="one direction"),
        pytest.param(
            lambda a: OPS.line_scan_gradients(
                torch.zeros(2, 3, 4, 5).double(), a[1], *a[2:6], *OPS.line_scan(*a), *a[7:], *(True,) * 5
            ),
            "dh has the wrong shape",
            id="the merged map of one direction",
        ),
    ],
)
def test_wrong_arguments(call, message):
    with pytest.raises(RuntimeError, match=message):
        call(scan_arguments(1, True, False))


def test_a_layer_s_output_can_be_shared_pickled_and_changed_in_place():
    """It may lie in memory that the library keeps (csrc/cpu/pages.h)."""
    layer = px.DiagonalBiLSTM(3, 48).eval()
    x = torch.randn(8, 3, 28, 28)
    with torch.no_grad():
        y, expected = layer(x), layer(x).clone()
    assert torch.equal(torch.from_numpy(y.numpy()), expected)
    y.share_memory_()
    assert torch.equal(y, expected) and y.is_shared()
    with torch.no_grad():
        y = layer(x).add_(1)
        assert torch.equal(y, expected + 1) and torch.equal(layer(x), expected)


def test_gradients_lie_as_the_parameters_do():
    """So that autograd takes them as they are: a layer's weights are copied once, to stand together, and no gradient
    is."""
    layer = px.DiagonalBiLSTM(6, 16, bias=False)
    x, dy = (torch.randn(2, n, 5, 7).contiguous(memory_format=torch.channels_last) for n in (6, 16))
    with torch.profiler.profile() as profiler:
        layer(x).backward(dy)
    copies = [event for event in profiler.events() if event.name in ("aten::copy_", "aten::clone")]
    assert all(p.grad.is_contiguous() for p in layer.parameters()) and not copies
