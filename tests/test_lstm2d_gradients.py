"""Derivatives of LSTM2d, in float64, and torch's transforms of it."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.func import functional_call, grad, jacfwd, jacrev, jvp, vmap

from checks import subsets
from lstm2d import BACKENDS, CORNERS, VARIANTS, make_layer, results

SIZES = torch.tensor([(2, 3), (2, 1)])


def problem(variant, backend, directions=1, **options):
    """The layer as a function of named tensors, and those: the input and the parameters."""
    layer = make_layer(variant, 1, 2, directions=directions, backend=backend, **options)
    tensors = {"input": torch.randn(2, 1, 2, 3, dtype=torch.float64)}
    tensors |= {name: p.detach() for name, p in layer.named_parameters()}

    def run(tensors, sizes=None):
        parameters = {name: t for name, t in tensors.items() if name != "input"}
        return functional_call(layer, parameters, (tensors["input"], sizes))

    return run, tensors


def check(checker, run, tensors, needed, sizes=None, **options):
    def of_needed(*values):
        return run(tensors | dict(zip(needed, values)), sizes)

    assert checker(of_needed, [tensors[name].clone().requires_grad_() for name in needed], **options)


@pytest.mark.covering(1)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("sizes", [None, SIZES], ids=["full", "ragged"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_gradcheck(variant, sizes, backend):
    run, tensors = problem(variant, backend)
    check(gradcheck, run, tensors, list(tensors), sizes)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("corner", CORNERS)
def test_gradcheck_of_corners(corner, backend):
    run, tensors = problem("stable", backend, (corner,))
    check(gradcheck, run, tensors, list(tensors), SIZES, fast_mode=True)


@pytest.mark.covering(1)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("sizes", [None, SIZES], ids=["full", "ragged"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_gradgradcheck(variant, sizes, backend):
    run, tensors = problem(variant, backend)
    check(gradgradcheck, run, tensors, list(tensors), sizes, fast_mode=True)


@pytest.mark.covering(1)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("needed", subsets(["input", "weight_hh", "h0", "c0", "peephole"]), ids="+".join)
@pytest.mark.parametrize("variant", ["graves-peepholes", "halved-peepholes"])
def test_gradgradcheck_of_every_subset(variant, needed, backend):
    run, tensors = problem(variant, backend)
    check(gradcheck, run, tensors, needed, fast_mode=True)
    check(gradgradcheck, run, tensors, needed, fast_mode=True)


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradient_penalty_reaches_the_parameters(backend):
    layer = make_layer("stable", backend=backend)
    x = torch.randn(2, 2, 2, 3, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(layer(x, SIZES).sum(), x, create_graph=True)
    for value in torch.autograd.grad(gradient.square().sum(), list(layer.parameters())):
        assert value.abs().max() > 0


def assert_same(got, want):
    torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-12)
    assert want.abs().max() > 0


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("variant", ["graves-peepholes", "leaky", "max"])
def test_both_modes_agree(variant, backend):
    run, tensors = problem(variant, backend)

    def of_input(x):
        return run(tensors | {"input": x}, SIZES)

    assert_same(jacfwd(of_input)(tensors["input"]), jacrev(of_input)(tensors["input"]))


NESTED = {
    "hessian": lambda f, x, t: torch.func.hessian(f)(x),
    "jvp of grad": lambda f, x, t: jvp(grad(f), (x,), (t,))[1],
    "jvp of jvp of grad": lambda f, x, t: jvp(lambda x: jvp(grad(f), (x,), (t,))[1], (x,), (t,))[1],
    "vmap of jvp of grad": lambda f, x, t: vmap(lambda t: jvp(grad(f), (x,), (t,))[1])(torch.stack([t, -t])),
    "grad of jvp": lambda f, x, t: grad(lambda x: jvp(f, (x,), (t,))[1])(x),
    "jacrev of jacrev": lambda f, x, t: jacrev(jacrev(f))(x),
}


@pytest.mark.parametrize("nested", NESTED)
def test_second_derivatives_of_both_modes(nested):
    """The kernels' as the reference's."""
    (run, tensors), (by_reference, _) = (problem("stable", backend, 2) for backend in ("native", "reference"))
    x = tensors["input"]
    t = torch.randn_like(x)

    def of(run):
        return NESTED[nested](lambda x: run(tensors | {"input": x}, SIZES).square().sum(), x, t)

    assert_same(of(run), of(by_reference))


@pytest.mark.parametrize("backend", BACKENDS)
def test_jvp_of_the_parameters(backend):
    """Forward mode against a difference of the reverse mode's inner product."""
    run, tensors = problem("stable", backend, 2)
    tangents = {name: torch.randn_like(t) for name, t in tensors.items()}
    y, tangent = jvp(lambda t: run(t, SIZES), (tensors,), (tangents,))
    cotangent = torch.randn_like(y)
    gradients = grad(lambda t: (run(t, SIZES) * cotangent).sum())(tensors)
    assert_same((tangent * cotangent).sum(), sum((gradients[name] * t).sum() for name, t in tangents.items()))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("sizes", [None, SIZES], ids=["full", "ragged"])
def test_vmap_over_batches_and_over_an_ensemble(sizes, backend):
    run, tensors = problem("stable", backend, 2)
    many = {name: torch.stack([t, 0.5 * t, -t]) for name, t in tensors.items()}
    for batched in (["input"], [name for name in tensors if name != "input"], list(tensors)):
        dims = {name: 0 if name in batched else None for name in tensors}
        given = {name: many[name] if name in batched else t for name, t in tensors.items()}
        got = vmap(lambda t: run(t, sizes), (dims,))(given)
        each = [run(tensors | {name: many[name][k] for name in batched}, sizes) for k in range(3)]
        assert_same(got, torch.stack(each))


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradients_of_every_image(backend):
    run, tensors = problem("stable", backend, 2)
    x = tensors.pop("input")

    def loss(parameters, image):
        return run(parameters | {"input": image[None]}).square().sum()

    got = vmap(grad(loss), (None, 0))(tensors, x)
    for n, image in enumerate(x):
        for name, gradient in grad(loss)(tensors, image).items():
            assert_same(got[name][n], gradient)


@pytest.mark.parametrize("backend", BACKENDS)
def test_compiled_in_one_graph(backend):
    layer = make_layer("stable", backend=backend)
    x = torch.randn(1, 2, 2, 2, dtype=torch.float64)
    torch._dynamo.reset()
    assert_same(torch.compile(layer, fullgraph=True, backend="eager")(x), layer(x))


def test_compiled_with_sizes_and_its_backward():
    layer = make_layer("stable", backend="native")
    x = torch.randn(2, 2, 2, 3, dtype=torch.float64)
    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    for sizes in (SIZES, SIZES.flip(0)):
        for got, want in zip(results(compiled, x, sizes).values(), results(layer, x, sizes).values()):
            assert_same(got, want)


def test_exported_with_dynamic_sizes():
    layer = make_layer("stable", backend="native")
    n, height, width = (torch.export.Dim(name, min=2, max=64) for name in ("n", "height", "width"))
    shapes = {"input": {0: n, 2: height, 3: width}, "sizes": {0: n}}
    example = torch.randn(2, 2, 3, 4, dtype=torch.float64), torch.tensor([(3, 4), (2, 2)])
    exported = torch.export.export(layer, example, dynamic_shapes=shapes).module()
    x, sizes = torch.randn(3, 2, 5, 6, dtype=torch.float64), torch.tensor([(5, 6), (0, 3), (4, 1)])
    assert_same(exported(x, sizes), layer(x, sizes))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_autocast_and_halves_are_computed_in_float32(dtype):
    """A layer of halves as one of float32, rounded; autocast as torch's convolutions have it."""
    layer = make_layer("stable", dtype=torch.float32, backend="native")
    x = torch.randn(2, 2, 3, 4)
    want = layer(x, SIZES)
    with torch.autocast("cpu", dtype):
        got = layer(x, SIZES)
    assert got.dtype == dtype and torch.equal(got, want.to(dtype))
    half = make_layer("stable", dtype=dtype, backend="native")
    half.load_state_dict(layer.state_dict())
    wide = make_layer("stable", dtype=torch.float32, backend="native")
    wide.load_state_dict(half.state_dict())
    assert torch.equal(half(x.to(dtype), SIZES), wide(x.to(dtype).float(), SIZES).to(dtype))
