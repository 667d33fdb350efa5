import itertools

import pytest
import torch
from torch._dynamo import compiled_autograd
from torch._subclasses import FakeTensorMode
from torch.autograd import forward_ad, functional
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, linearize, vjp, vmap
from torch.fx.experimental.proxy_tensor import make_fx
from torch.testing import assert_close
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.checkpoint import checkpoint

from helpers.checks import randn64
from helpers.models import MODELS, SIZES, each_model, make_model, random_images
from helpers.scans import LSTM2D, make_layer
from helpers.selection import swept

SCANS = ["row3", "bilstm", "graves-peepholes"]
LAYERS = [*SCANS, "masked"]

# The function torch.func.linearize gives the warning that this marker ignores.
ignores_attributes_of_traces = pytest.mark.filterwarnings("ignore:Attempted to insert a get_attr Node")


def layer_of(name):
    # With a sum over two directions, each value depends on both directions' parameters.
    return make_layer(name, directions=2, **({"merge": "sum"} if name in LSTM2D else {}))


class Problem:
    """A module, its input ``x`` and its detached ``parameters``.

    Forward derivatives use the random directions ``dx`` and ``dparameters``.
    """

    def __init__(self, module, x):
        self.module, self.x = module, x
        self.parameters = {name: p.detach() for name, p in module.named_parameters()}
        self.dx, self.dparameters = torch.randn(x.shape).double(), tree_map(torch.randn_like, self.parameters)

    @property
    def primals(self):
        return self.parameters, self.x

    def __call__(self, parameters, x):
        return functional_call(self.module, parameters, (x,))

    def loss(self, parameters, x):
        return self(parameters, x).square().sum()

    def loss_of_one(self, parameters, x):
        return self.loss(parameters, x[None])


def layer_problem(name, height=3, width=4):
    return Problem(layer_of(name), randn64(2, 2, height, width))


def compare_backends(p, transform):
    """Asserts that the native and reference backends give the same tensors ``transform(p)``, up to rounding."""
    results = []
    for backend in ("native", "reference"):
        for module in p.module.modules():
            if hasattr(module, "backend"):
                module.backend = backend
        results.append(tree_leaves(transform(p)))
    assert_close(*results, rtol=1e-9, atol=1e-11)
    return results[1]


def check(p, transform):
    """No tensor may be all zeros, which would prove nothing."""
    assert all(expected.abs().max() > 0 for expected in compare_backends(p, transform))


def per_image(p, argnums=0):
    return vmap(grad(p.loss_of_one, argnums), (None, 0))


def of_jvp(p):
    return lambda parameters, x: jvp(lambda x: p(parameters, x), (x,), (x.sin(),))


def _dual(layer, x, dx):
    with forward_ad.dual_level():
        return forward_ad.unpack_dual(layer(forward_ad.make_dual(x, dx)))


def _forward_ad(p, trainable):
    p.module.requires_grad_(trainable)
    y = _dual(p.module, p.x, p.dx)
    if not trainable:
        return [y.primal, y.tangent]
    return [y.primal, y.tangent, *torch.autograd.grad(y.tangent.square().sum(), [next(p.module.parameters())])]


def _batch_of_gradients(p):
    x = p.x.clone().requires_grad_()
    y = p.module(x)
    cotangents = torch.stack([torch.ones_like(y), y.detach()])
    return torch.autograd.grad(y, [x, *p.module.parameters()], cotangents, is_grads_batched=True)


def _ensemble(p):
    return tree_map(lambda t: torch.stack([t, 2 * t]), p.parameters)


TRANSFORMS = {
    "jvp of the input": lambda p: jvp(p.module, (p.x,), (p.dx,)),
    "jvp of the parameters": lambda p: jvp(lambda q: p(q, p.x), (p.parameters,), (p.dparameters,)),
    "jvp of both": lambda p: jvp(p, p.primals, (p.dparameters, p.dx)),
    "jvp of jvp": lambda p: jvp(lambda x: jvp(p.module, (x,), (x.sin(),))[1], (p.x,), (p.dx,)),
    "jacfwd": lambda p: jacfwd(p.module)(p.x),
    "forward_ad, frozen": lambda p: _forward_ad(p, False),
    "forward_ad, trainable": lambda p: _forward_ad(p, True),
    "jacobian, forward mode": lambda p: functional.jacobian(p.module, p.x, vectorize=True, strategy="forward-mode"),
    "grad of the input": lambda p: grad(p.loss, 1)(*p.primals),
    "grad of the parameters": lambda p: grad(p.loss)(*p.primals),
    "vjp": lambda p: vjp(p, *p.primals)[1](p(*p.primals).detach()),
    "jacrev": lambda p: jacrev(p)(*p.primals),
    "jacobian, vectorized": lambda p: functional.jacobian(p.module, p.x, vectorize=True),
    "a batch of gradients": _batch_of_gradients,
    "vmap": lambda p: vmap(p.module)(torch.stack([p.x, p.dx])),
    "vmap of the last axis": lambda p: vmap(p.module, -1, -1)(torch.stack([p.x, p.dx], -1)),
    "vmap of an ensemble": lambda p: vmap(p, (0, None))(_ensemble(p), p.x),
    "vmap of an ensemble and its images": lambda p: vmap(p)(_ensemble(p), torch.stack([p.x, p.dx])),
    "gradients of an ensemble": lambda p: vmap(grad(p.loss), (0, None))(_ensemble(p), p.x),
    "gradients of every image": lambda p: per_image(p, (0, 1))(*p.primals),
    "hessian of the input": lambda p: hessian(p.loss, 1)(*p.primals),
    "hessian of the parameters": lambda p: hessian(p.loss)(*p.primals),
    "jacrev of jacrev": lambda p: jacrev(jacrev(p.loss, 1), 1)(*p.primals),
    "jacfwd of jacfwd": lambda p: jacfwd(jacfwd(p.loss, 1), 1)(*p.primals),
    "jacrev of jacfwd": lambda p: jacrev(jacfwd(p.loss, 1), 1)(*p.primals),
    "hessian of every image": lambda p: vmap(hessian(p.loss_of_one, 1), (None, 0))(*p.primals),
    "vmap of jvp": lambda p: vmap(lambda t: jvp(p.module, (p.x,), (t,)))(torch.stack([p.dx, p.x])),
    "grad of jvp": lambda p: grad(lambda q: jvp(lambda x: p.loss(q, x), (p.x,), (p.dx,))[1])(p.parameters),
    "jvp of the gradients of every image": lambda p: jvp(
        lambda q: per_image(p)(q, p.x), (p.parameters,), (p.dparameters,)
    ),
    "gradient of jvp of every image": lambda p: vmap(
        grad(lambda x, t: jvp(lambda x: p.loss_of_one(p.parameters, x), (x,), (t,))[1])
    )(p.x, p.dx),
    "linearize": lambda p: linearize(p.module, p.x)[1](p.dx),
    "a gradient inside no_grad inside grad": lambda p: grad(
        lambda x: (x * torch.no_grad()(grad(p.loss, 1))(p.parameters, x)).sum()
    )(p.x),
}
ALL = list(itertools.product(LAYERS, TRANSFORMS))
# A plain run of pytest tests each transform on the masked convolution and on one recurrent layer. `pytest -m sweep`
# tests the other pairs of a layer and a transform.
CHOSEN = [(name, t) for n, t in enumerate(TRANSFORMS) for name in ("masked", SCANS[n % len(SCANS)])]


@ignores_attributes_of_traces
@pytest.mark.parametrize("case", [*CHOSEN, *swept(*(case for case in ALL if case not in CHOSEN))], ids="-".join)
def test_layers(case):
    name, transform = case
    check(layer_problem(name), TRANSFORMS[transform])


@pytest.mark.parametrize("name", LAYERS)
def test_halves_have_forward_derivatives(name):
    layer = layer_of(name)
    x, dx = randn64(2, 1, 2, 3, 4)
    _, expected = jvp(layer, (x,), (dx,))
    layer.bfloat16()
    _, got = jvp(layer, (x.bfloat16(),), (dx.bfloat16(),))
    assert got.dtype == torch.bfloat16
    assert_close(got.double(), expected, rtol=0.1, atol=0.05)


@pytest.mark.parametrize("images", [0, 1])
@pytest.mark.parametrize("name", LAYERS)
def test_few_images(name, images):
    p = layer_problem(name)
    p.x, p.dx = p.x[:images], p.dx[:images]
    for transform in ("jvp of both", "gradients of an ensemble"):
        compare_backends(p, TRANSFORMS[transform])


class LogProb(torch.nn.Module):
    """Makes a model's log_prob a module's forward, since torch's functional_call calls modules."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images):
        return self.model.log_prob(images)


def model_problem(name):
    module = LogProb(make_model(name))
    return Problem(module, random_images(module.model, 3))


def _hessian_of_the_bias_of_a_first_layer(p):
    name = next(name for name in p.parameters if name.endswith("first.bias"))
    return hessian(lambda bias: p.loss(p.parameters | {name: bias}, p.x))(p.parameters[name])


MODEL_TRANSFORMS = {
    "gradients of every image": lambda p: per_image(p)(*p.primals),
    "jacrev": TRANSFORMS["jacrev"],
    "jvp": TRANSFORMS["jvp of the parameters"],
    "jvp of the gradients of every image": TRANSFORMS["jvp of the gradients of every image"],
    "grad of jvp": lambda p: grad(lambda q: jvp(lambda q: p.loss(q, p.x), (q,), (p.dparameters,))[1])(p.parameters),
    "hessian": _hessian_of_the_bias_of_a_first_layer,
    "linearize": lambda p: linearize(lambda q: p(q, p.x), p.parameters)[1](p.dparameters),
}
OF_MODELS = [
    *itertools.product(("diagonal", "pixelcnn"), list(MODEL_TRANSFORMS)[:-1]),
    *itertools.product(("row", "multiscale-row"), ("gradients of every image", "jvp")),
    ("pixelcnn", "linearize"),
    *swept(("row", "linearize"), ("multiscale-row", "linearize")),
]


@ignores_attributes_of_traces
@pytest.mark.parametrize("case", OF_MODELS, ids="-".join)
def test_log_prob(case):
    name, transform = case
    p = model_problem(name)
    check(p, MODEL_TRANSFORMS[transform])
    if transform == "gradients of every image":
        sums = tree_map(lambda gradients: gradients.sum(0), per_image(p)(*p.primals))
        assert_close(sums, grad(p.loss)(*p.primals), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("mode", ["real", "fake", *swept("symbolic")])
def test_log_prob_traced(mode):
    p = model_problem("row")
    traced = make_fx(p, tracing_mode=mode)(*p.primals)
    assert_close(traced(*p.primals), p(*p.primals), rtol=1e-12, atol=1e-12)


COMPILED = [("bilstm", of_jvp), ("masked", per_image)]
OTHERS = [case for case in itertools.product(LAYERS, (per_image, of_jvp)) if case not in COMPILED]


@pytest.mark.parametrize("case", [*COMPILED, *swept(*OTHERS)], ids=lambda case: f"{case[0]}-{case[1].__name__}")
def test_transforms_compile_in_one_graph(case):
    name, transform = case
    p = layer_problem(name, 2, 2)
    torch._dynamo.reset()
    compiled = torch.compile(transform(p), fullgraph=True, backend="aot_eager")
    assert_close(compiled(*p.primals), transform(p)(*p.primals))


@pytest.mark.parametrize("name", [*swept("row3"), "masked"])
def test_forward_ad_compiles(name):
    p = layer_problem(name, 2, 2)
    p.module.requires_grad_(False)
    torch._dynamo.reset()
    compiled = torch.compile(lambda x, dx: _dual(p.module, x, dx).tangent, backend="aot_eager")
    assert_close(compiled(p.x, p.dx), _dual(p.module, p.x, p.dx).tangent)


@pytest.mark.parametrize("name", [*swept("row3", "bilstm"), "masked"])
def test_compiled_autograd(name):
    p = layer_problem(name, 2, 2)
    leaves = [p.x.requires_grad_(), *p.module.parameters()]
    expected = torch.autograd.grad(p.module(p.x).square().sum(), leaves)
    loss = p.module(p.x).square().sum()
    torch._dynamo.reset()
    with compiled_autograd._enable(torch.compile(backend="eager")):
        loss.backward()
    assert_close([leaf.grad for leaf in leaves], list(expected))


@pytest.mark.parametrize(("name", "node"), [("row3", "Scan"), ("masked", "MaskedConv2d")])
def test_nodes_of_the_graph_have_the_operators_names(name, node):
    y, names = layer_of(name)(randn64(1, 2, 3, 3)), set()
    nodes = [y.grad_fn]
    while nodes:
        names.add(nodes[-1].name())
        nodes += [following for following, _ in nodes.pop().next_functions if following]
    assert f"{node}Backward" in names


@pytest.mark.parametrize("name", [*LAYERS, "diagonal", *MODELS])
def test_activation_checkpoints(name):
    p = model_problem(name) if name in MODELS else layer_problem(name)
    leaves = [*p.module.parameters(), *([] if name in MODELS else [p.x.requires_grad_()])]
    results = []
    for run in (p.module, lambda x: checkpoint(p.module, x, use_reentrant=False)):
        first = torch.autograd.grad(run(p.x).square().sum(), leaves, create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), leaves)
        results.append([*first, *second])
    assert_close(*results, rtol=0, atol=0)


@pytest.mark.parametrize("context", [lambda: torch.device("meta"), FakeTensorMode], ids=["meta", "fake"])
@each_model
def test_models_of_images_without_values(name, context):
    with context():
        model = MODELS[name](**SIZES)
        images = torch.zeros(3, 1, 4, 6, dtype=torch.int64)
        assert model(images).shape == (3, 1, 1, 4, 6)
        assert model.log_prob(images).shape == (3,)


@each_model
def test_models_under_vmap(name):
    model = make_model(name)
    images = random_images(model, 3)
    got = vmap(lambda image: model.log_prob(image[None])[0])(images)
    assert_close(got, model.log_prob(images), rtol=1e-12, atol=1e-12)
    assert vmap(lambda image: model(image[None])[0])(images).shape == (3, 1, 1, 4, 6)
    images[1, 0, 2, 3] = 7
    with pytest.raises(ValueError, match=r"integers in \[0, 2\), got values from 0 to 7"):
        vmap(lambda image: model.log_prob(image[None])[0])(images)
