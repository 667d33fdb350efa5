"""The CUDA kernels on a GPU: against the reference in float64, and with graphs, streams, torch.compile and autocast."""

import copy

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.func import functional_call
from torch.library import opcheck

import pixelrnn_ext as px
from helpers.checks import LAYERS, assert_close, gate_bias_channels, make_layer, outputs_and_gradients
from helpers.gpu import _strict_products, skip_without_a_gpu, skips_without_a_kernel, use  # noqa: F401
from helpers.scans import DTYPES, Problem

from .bounds import GRADIENT_RATIO, RATIO

DEVICE = "cuda"
OPS = torch.ops.pixelrnn_ext

skip_without_a_gpu()
pytestmark = pytest.mark.cuda

RESIDENT_FORMATS = ("fp32", "tf32", "bf16", "fp16")
NATIVE = ("native", "step", "resident")


def randn(*size, dtype=torch.float32, grad=True):
    return torch.randn(size, device=DEVICE, dtype=dtype).requires_grad_(grad)


def layer_of(name, channels, hidden, backend="native", dtype=torch.float32, **options):
    layer = make_layer(name, channels, hidden, **options).to(DEVICE, dtype)
    layer.backend = backend
    return layer


def results(layer, backend, *tensors):
    """Output and gradients."""
    with skips_without_a_kernel(backend):
        return outputs_and_gradients(layer, backend, *tensors)


def check(name, hidden, backend, format, size, *, channels=3, gate_bias=False, layout=lambda t: t, **options):
    """A layer in one format against the reference in float64 with the same, rounded, parameters."""
    dtype, (n, height, width) = DTYPES[format], size
    layer = layer_of(name, channels, hidden, dtype=dtype, **options)
    sizes = [(n, channels, height, width), (n, gate_bias_channels(layer), height, width), (n, hidden, height, width)]
    x, bias, cotangent = (layout(randn(*s, dtype=dtype, grad=False)).detach() for s in sizes)

    def leaves(t):
        return x.to(t).requires_grad_(), bias.to(t).requires_grad_() if gate_bias else None, cotangent.to(t)

    use(format)
    got = results(layer, backend, *leaves(dtype))
    expected = outputs_and_gradients(copy.deepcopy(layer).double(), "reference", *leaves(torch.float64))
    for key, tensor in got.items():
        assert tensor.dtype == dtype, f"{key}: expected {dtype}, got {tensor.dtype}"
        assert_close(key, expected[key], tensor, (RATIO if key == "output" else GRADIENT_RATIO)[format])
    return got


@pytest.mark.parametrize("format", DTYPES)
@pytest.mark.parametrize("backend", NATIVE)
@pytest.mark.parametrize("name", LAYERS)
def test_formats(name, backend, format):
    check(name, 32, backend, format, (3, 9, 11), gate_bias=True, initial_state="learned")


@pytest.mark.parametrize("format", RESIDENT_FORMATS)
@pytest.mark.parametrize("hidden", [16, 32, 48, 64, 96, 128, 192, 256])
@pytest.mark.parametrize("name", ["row1", "row3", "bilstm"])
def test_hidden_sizes_of_the_resident_path(name, hidden, format):
    check(name, hidden, "resident", format, (2, 5, 12), initial_state="learned")


@pytest.mark.parametrize("format", DTYPES)
@pytest.mark.parametrize("backend", ["native", "step"])
@pytest.mark.parametrize("hidden", [7, 20])
@pytest.mark.parametrize("name", ["row3", "bilstm"])
def test_hidden_sizes_that_only_the_step_path_takes(name, hidden, backend, format):
    check(name, hidden, backend, format, (3, 6, 5), initial_state="learned")


@pytest.mark.parametrize("format", ["fp32", "bf16"])
@pytest.mark.parametrize("backend", ["step", "resident"])
@pytest.mark.parametrize(
    "size", [(1, 1, 9), (1, 9, 1), (2, 1, 1), (5, 12, 7), (1, 7, 12), (7, 20, 33), (2, 64, 3), (3, 3, 64)], ids=str
)
@pytest.mark.parametrize("name", ["row1", "row3", "diagonal", "diagonal-reverse", "bilstm"])
def test_maps(name, size, backend, format):
    check(name, 32, backend, format, size, initial_state="learned")


@pytest.mark.parametrize("format", ["fp32", "bf16"])
@pytest.mark.parametrize(
    ("name", "hidden", "size"),
    [("bilstm", 16, (16, 28, 28)), ("row3", 128, (16, 32, 32)), ("bilstm", 128, (16, 32, 32))],
)
def test_the_papers_sizes(name, hidden, size, format):
    check(name, hidden, "native", format, size)


@pytest.mark.parametrize("format", ["fp32", "bf16"])
@pytest.mark.parametrize("backend", ["step", "resident"])
@pytest.mark.parametrize(
    "given", [("h0",), ("c0",), ("bias",), ("h0", "c0_reverse"), ()], ids=lambda names: "+".join(names) or "none"
)
def test_any_subset_of_the_initial_states(given, backend, format):
    """A direction may have a state that the other one lacks."""
    dtype, hidden = DTYPES[format], 16
    sizes = {"input": (3, 2, 5, 10), "weight_ih": (64, 2, 1, 1), "weight_hh": (64, hidden, 2)}
    sizes |= {f"{name}_reverse": sizes[name] for name in ("weight_ih", "weight_hh")}
    sizes |= {name: (64 if name == "bias" else hidden,) for name in given}
    values = {name: (randn(*size) * 0.5).to(dtype).detach() for name, size in sizes.items()}
    cotangent = randn(3, hidden, 5, 10, grad=False).to(dtype)

    def run(backend, t):
        leaves = {name: value.to(t).requires_grad_() for name, value in values.items()}
        y = px.functional.diagonal_bilstm(**leaves, backend=backend)
        return {"output": y, **dict(zip(leaves, torch.autograd.grad(y, list(leaves.values()), cotangent.to(t))))}

    expected, got = run("reference", torch.float64), run(backend, dtype)
    for name in expected:
        assert_close(name, expected[name], got[name], (RATIO if name == "output" else GRADIENT_RATIO)[format])


LAYOUTS = {
    "channels_last": lambda t: t.contiguous(memory_format=torch.channels_last),
    "strided": lambda t: torch.stack([t, t + 1], -1)[..., 0],
    "expanded": lambda t: t[:1].expand(t.shape),
    "transposed": lambda t: t.transpose(2, 3).contiguous().transpose(2, 3),
    "offset": lambda t: torch.cat([t.new_zeros(1), t.flatten()])[1:].view(t.shape),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("backend", ["step", "resident"])
@pytest.mark.parametrize("name", ["row3", "bilstm"])
def test_layouts(name, backend, layout):
    got = check(name, 16, backend, "bf16", (3, 5, 4), channels=6, gate_bias=True, layout=LAYOUTS[layout])
    assert got["output"].is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("backend", NATIVE)
@pytest.mark.parametrize("name", LAYERS)
def test_an_empty_batch(name, backend):
    layer = layer_of(name, 3, 16, initial_state="learned")
    got = results(layer, backend, randn(0, 3, 4, 5), None, randn(0, 16, 4, 5, grad=False))
    assert got["output"].shape == (0, 16, 4, 5)
    assert all(gradient.count_nonzero() == 0 for gradient in got.values())


def test_tf32_is_taken_where_torch_allows_it_and_nowhere_else():
    layer, x = layer_of("bilstm", 3, 64), randn(2, 3, 8, 8, grad=False)
    settings = torch.backends.cuda.matmul
    for backend in ("step", "resident"):
        layer.backend = backend
        strict = layer(x)
        settings.allow_tf32 = True
        by_flag = layer(x)
        settings.allow_tf32 = False
        assert torch.equal(layer(x), strict)
        settings.fp32_precision = "tf32"
        by_name = layer(x)
        settings.fp32_precision = "ieee"
        assert torch.equal(by_flag, by_name)
        assert torch.equal(layer(x), strict)
        assert torch.equal(by_flag, strict) == (torch.cuda.get_device_capability() < (8, 0))


@pytest.mark.parametrize("name", ["row3", "diagonal", "diagonal-reverse", "bilstm"])
@pytest.mark.parametrize("checker", [gradcheck, gradgradcheck], ids=["gradcheck", "gradgradcheck"])
def test_derivatives(checker, name):
    layer = layer_of(name, 2, 2, "step", torch.float64, image_channels=2, initial_state="learned")
    maps = [randn(1, channels, 2, 3, dtype=torch.float64) for channels in (2, gate_bias_channels(layer))]
    parameters = dict(layer.named_parameters())

    def run(input, gate_bias, *values):
        return functional_call(layer, dict(zip(parameters, values)), (input, gate_bias))

    # Along random directions: the whole Jacobian takes a launch for each step of each column.
    assert checker(run, [*maps, *parameters.values()], fast_mode=True)


@pytest.mark.parametrize("backend", ["step", "resident"])
@pytest.mark.parametrize("name", ["row3", "bilstm"])
def test_a_gradient_penalty_in_float32(name, backend):
    layer, x = layer_of(name, 2, 16), randn(2, 2, 4, 5)

    def penalty(layer, x):
        (gradient,) = torch.autograd.grad(layer(x).square().sum(), x, create_graph=True)
        return torch.autograd.grad(gradient.square().sum(), list(layer.parameters()))

    exact = copy.deepcopy(layer).double()
    exact.backend, layer.backend = "reference", backend
    expected = penalty(exact, x.detach().double().requires_grad_())
    for (key, _), a, b in zip(layer.named_parameters(), expected, penalty(layer, x)):
        assert_close(key, a, b, 10 * RATIO["fp32"])


@pytest.mark.parametrize("format", ["fp64", "fp32", "bf16", "fp16"])
@pytest.mark.parametrize("family", ["row3", "bilstm", "stable"])
def test_opcheck(family, format):
    problem = Problem(format, family, 16, (2, 3, 4), x=True)  # a size of the resident path
    opcheck(OPS.scan.default, tuple(problem.scan(device=DEVICE, requires_grad=True)))
    opcheck(OPS.scan_gradients.default, problem.gradients(OPS, device=DEVICE).flat)


def training_step(layer, x, cotangent):
    y = layer(x)
    return y.detach(), *torch.autograd.grad(y, [x, *layer.parameters()], cotangent)


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "forward+backward"])
@pytest.mark.parametrize("format", ["fp32", "bf16"])
@pytest.mark.parametrize("backend", ["step", "resident"])
@pytest.mark.parametrize("name", ["row3", "bilstm"])
def test_cuda_graph(name, backend, format, backward):
    """Captured once, replayed with new input: the same to the bit as the call."""
    dtype = DTYPES[format]
    layer = layer_of(name, 6, 32, backend, dtype, image_channels=3, initial_state="learned")
    x, cotangent = randn(3, 6, 7, 11, dtype=dtype), randn(3, 32, 7, 11, dtype=dtype, grad=False)

    def step():
        return training_step(layer, x, cotangent) if backward else (layer(x).detach(),)

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        captured = step()
    for seed in (1, 2):
        torch.manual_seed(seed)
        with torch.no_grad():
            x.normal_()
            cotangent.normal_()
        graph.replay()
        for i, (a, b) in enumerate(zip(step(), captured)):
            assert torch.equal(a, b), f"seed {seed}, result {i}"


@pytest.mark.parametrize("backend", ["step", "resident"])
def test_a_size_that_has_not_run_before_is_captured(backend):
    """The GPU is asked for the plan, and the kernels are loaded, while the graph is captured."""
    layer, x = layer_of("bilstm", 3, 24, backend), randn(2, 3, 6, 13)
    cotangent = randn(2, 24, 6, 13, grad=False)
    graph = torch.cuda.CUDAGraph()
    torch.cuda.synchronize()
    with torch.cuda.graph(graph):
        captured = training_step(layer, x, cotangent)
    graph.replay()
    for i, (a, b) in enumerate(zip(training_step(layer, x, cotangent), captured)):
        assert torch.equal(a, b), f"result {i}"


@pytest.mark.parametrize("backend", ["step", "resident"])
@pytest.mark.parametrize("name", ["row3", "bilstm"])
def test_it_runs_on_the_current_stream(name, backend):
    """The input is written late on another stream, so a kernel on any other one reads what was there before."""
    layer, x = layer_of(name, 3, 16, backend), randn(2, 3, 8, 9)
    cotangent = randn(2, 16, 8, 9, grad=False)
    expected = training_step(layer, x, cotangent)
    late, late_cotangent = torch.zeros_like(x).requires_grad_(), torch.zeros_like(cotangent)
    stream = torch.cuda.Stream()
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(100_000_000)  # tens of milliseconds
        with torch.no_grad():
            late.copy_(x)
            late_cotangent.copy_(cotangent)
        got = training_step(layer, late, late_cotangent)
        assert not stream.query(), "expected no call to wait for the GPU"
    torch.cuda.synchronize()
    for a, b in zip(expected, got):
        assert torch.equal(a, b)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="a second GPU is needed")
@pytest.mark.parametrize("backend", ["step", "resident"])
def test_a_device_that_is_not_the_current_one(backend):
    layer, x = layer_of("bilstm", 3, 16, backend), randn(2, 3, 5, 6)
    cotangent = randn(2, 16, 5, 6, grad=False)
    expected = training_step(layer, x, cotangent)
    other = copy.deepcopy(layer).to("cuda:1")
    got = training_step(other, x.detach().to("cuda:1").requires_grad_(), cotangent.to("cuda:1"))
    assert torch.cuda.current_device() == 0
    for a, b in zip(expected, got):
        assert b.device.index == 1
        assert_close("result", a.cpu(), b.cpu(), RATIO["fp32"])
    with pytest.raises(ValueError, match="on one device, got input on cuda:0 and weight_ih on cuda:1"):
        other(x)


@pytest.mark.parametrize("other", ["cpu", "cuda:1"])
def test_raw_operators_refuse_tensors_of_two_devices(other):
    if other == "cuda:1" and torch.cuda.device_count() < 2:
        pytest.skip("a second GPU is needed")
    problem = Problem("fp32", "graves-peepholes", 16, (2, 3, 4), x=True, merge="none", sizes=[(3, 4), (2, 2)])
    s, g = problem.scan(device=DEVICE), problem.gradients(OPS, device=DEVICE)
    calls = [
        (OPS.scan.default, tuple(s)),
        (OPS.scan_gradients.default, g.flat),
        (OPS.recurrence.default, tuple(s._replace(input=None, weight_ih=None, bias=None))),
        (OPS.neighbour_states.default, (g.h, s.h0, s.sizes, s.corners, True, 2, 0, 2)),
        (OPS.border_sums.default, (s.x, s.sizes, s.corners, True, 2)),
    ]
    with torch.device(DEVICE):
        calls.append((OPS.masked_conv2d.default, (randn(1, 2, 3, 4), randn(5, 2, 3, 3), None, "B", 1, 1, False)))
    for operator, arguments in calls:
        places = [i for i, a in enumerate(arguments) if isinstance(a, torch.Tensor)]
        for i in places[1:]:
            moved = [a.to(other) if j == i else a for j, a in enumerate(arguments)]
            with pytest.raises((ValueError, RuntimeError), match="expected all tensors on one device, got "):
                operator(*moved)
    torch.cuda.synchronize()


@pytest.mark.parametrize(("name", "compiler"), [("row3", "aot_eager"), ("bilstm", "aot_eager"), ("bilstm", "inductor")])
def test_compile_fullgraph(name, compiler):
    torch._dynamo.reset()
    layer = layer_of(name, 3, 16, image_channels=3, initial_state="learned")
    x, cotangent = randn(2, 3, 4, 5), randn(2, 16, 4, 5, grad=False)
    expected = training_step(layer, x, cotangent)
    got = training_step(torch.compile(layer, fullgraph=True, backend=compiler), x, cotangent)
    for i, (a, b) in enumerate(zip(expected, got)):
        assert_close(f"result {i}", a, b, GRADIENT_RATIO["fp32"])


@pytest.mark.parametrize("backend", [*NATIVE, "reference"])
@pytest.mark.parametrize("format", ["bf16", "fp16"])
@pytest.mark.parametrize("name", ["row3", "bilstm"])
def test_autocast(name, format, backend):
    """The layer in the half dtype; gradients reach the float32 parameters; float64 is left alone."""
    dtype = DTYPES[format]
    layer, x = layer_of(name, 3, 16, backend), randn(2, 3, 6, 7)
    cotangent = randn(2, 16, 6, 7, dtype=dtype, grad=False)
    with torch.autocast("cuda", dtype):
        y = layer(x)
    assert y.dtype == dtype
    gradients = torch.autograd.grad(y, [x, *layer.parameters()], cotangent)
    exact = copy.deepcopy(layer).double()
    exact.backend = "reference"
    expected = training_step(exact, x.detach().double().requires_grad_(), cotangent.double())
    assert all(gradient.dtype == torch.float32 for gradient in gradients)
    for i, (a, b) in enumerate(zip(expected, [y.detach(), *gradients])):
        # Here the parameters are rounded too.
        assert_close(f"result {i}", a, b, 2 * GRADIENT_RATIO[format])
    if backend not in ("resident", "reference"):
        double, x = layer_of(name, 3, 16, backend, torch.float64), x.detach().double()
        with torch.autocast("cuda", dtype):
            assert torch.equal(double(x), double(x)) and double(x).dtype == torch.float64


@pytest.mark.parametrize("format", ["fp32", "bf16"])
@pytest.mark.parametrize("backend", ["step", "resident"])
@pytest.mark.parametrize("name", ["row3", "bilstm"])
def test_bit_identical_from_run_to_run_and_beside_others(name, backend, format):
    dtype = DTYPES[format]
    layer = layer_of(name, 5, 64, backend, dtype, initial_state="learned")
    x, cotangent = randn(5, 5, 17, 19, dtype=dtype), randn(5, 64, 17, 19, dtype=dtype, grad=False)
    first = training_step(layer, x, cotangent)
    streams = [torch.cuda.Stream() for _ in range(4)]
    runs = [training_step(layer, x, cotangent) for _ in range(4)]
    torch.cuda.synchronize()
    for stream in streams:  # all at once
        with torch.cuda.stream(stream):
            runs += [training_step(layer, x, cotangent) for _ in range(2)]
    torch.cuda.synchronize()
    for run, results in enumerate(runs):
        for i, (a, b) in enumerate(zip(first, results)):
            assert torch.equal(a, b), f"run {run}, result {i}"


@pytest.mark.parametrize("backend", ["step", "resident"])
@pytest.mark.parametrize("name", ["row3", "bilstm"])
def test_memory_does_not_grow(name, backend):
    layer, x = layer_of(name, 3, 32, backend, initial_state="learned"), randn(4, 3, 10, 12)
    cotangent = randn(4, 32, 10, 12, grad=False)
    allocated = []
    for _ in range(20):
        training_step(layer, x, cotangent)
        torch.cuda.synchronize()
        allocated.append(torch.cuda.memory_allocated())
    assert allocated[3:] == allocated[3:4] * 17


@pytest.mark.parametrize("format", ["fp32", "bf16"])
@pytest.mark.parametrize("backend", ["step", "resident"])
@pytest.mark.parametrize("name", ["row3", "bilstm"])
def test_no_saved_tensor_changes(name, backend, format):
    dtype, saved = DTYPES[format], []
    layer = layer_of(name, 3, 32, backend, dtype, initial_state="learned")
    x, cotangent = randn(3, 3, 8, 9, dtype=dtype), randn(3, 32, 8, 9, dtype=dtype, grad=False)

    def pack(tensor):
        saved.append((tensor, tensor._version, tensor.detach().clone()))
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        y = layer(x)
    before = y.detach().clone()
    leaves = [x, *layer.parameters()]
    first = torch.autograd.grad(y, leaves, cotangent, retain_graph=True)
    second = torch.autograd.grad(y, leaves, cotangent)
    assert len(saved) >= 3 and torch.equal(y, before)
    for tensor, version, value in saved:
        assert tensor._version == version and torch.equal(tensor, value)
    for a, b in zip(first, second):
        assert torch.equal(a, b)


def test_errors_say_what_was_expected_and_what_came():
    x = randn(2, 3, 4, 5, grad=False)
    for name, hidden, dtype, message in (
        ("bilstm", 20, torch.float32, "a multiple of 8, got 20"),
        ("row5", 16, torch.float32, "expected at most 3 taps, got 5"),
        ("bilstm", 16, torch.float64, "expected float32, float16 or bfloat16, got float64"),
    ):
        layer = layer_of(name, 3, hidden, "resident", dtype)
        with pytest.raises(RuntimeError, match=f"cannot run: .*{message}"):
            layer(x.to(dtype))
    with pytest.raises(ValueError, match="on one device, got input on cpu and weight_ih on cuda:0"):
        layer_of("row3", 3, 16)(x.cpu())
    with pytest.raises(TypeError, match="got input of torch.bfloat16 and weight_ih of torch.float32"):
        layer_of("row3", 3, 16)(x.bfloat16())
    with pytest.raises(RuntimeError, match="expected path 'auto', 'step' or 'resident', got 'fast'"):
        OPS.scan(*Problem("fp32", "diagonal", 16, (2, 3, 4)).scan(path="fast", device=DEVICE))
