"""Tests of scans on a real GPU."""

import copy

import pytest
import torch

import pixelrnn_ext as px
from helpers.checks import assert_close
from helpers.gpu import _strict_products, capture, skip_without_a_gpu  # noqa: F401
from helpers.masked_conv_interpreted import expected_results
from helpers.scans import Problem, each_kind, ragged_sizes
from pixelrnn_ext.masks import Mask

from ..gpus import MAX_BLOCKS, REAL_GPU
from ..layers import layer_and_maps

skip_without_a_gpu()
pytestmark = pytest.mark.cuda

each_format = pytest.mark.parametrize("format", ["fp32", "bf16"])
each_backend = pytest.mark.parametrize("backend", ["step", "resident"] if MAX_BLOCKS["real"] else ["step"])


def training_step(layer, x, cotangent, sizes=None):
    y = layer(x, sizes=sizes)
    return y.detach(), *torch.autograd.grad(y, [x, *layer.parameters()], cotangent)


def assert_same(expected, got, run=""):
    for i, (a, b) in enumerate(zip(expected, got)):
        assert torch.equal(a, b), f"{run}result {i}"


def layer_case(name, backend, format="fp32", hidden=32, maps=(3, 7, 11)):
    layer, x, *_ = layer_and_maps(REAL_GPU, name, backend, format, hidden, maps)
    return layer, x.requires_grad_(), torch.randn_like(layer(x))


@each_format
@each_backend
@pytest.mark.parametrize("size", [(5, 12, 7), (1, 7, 12), (7, 20, 33), (2, 64, 3), (3, 3, 64), (2, 40, 17)], ids=str)
@pytest.mark.parametrize("layer", ["row1", "row3", "diagonal", "diagonal-reverse", "bilstm", "stable"])
def test_maps(layer, size, backend, format):
    REAL_GPU.compare(Problem(format, layer, 32, size), backend)


@each_format
@pytest.mark.parametrize(
    ("layer", "hidden", "size"),
    [("bilstm", 16, (16, 28, 28)), ("row3", 128, (16, 32, 32)), ("bilstm", 128, (16, 32, 32))],
)
def test_the_papers_sizes(layer, hidden, size, format):
    REAL_GPU.compare(Problem(format, layer, hidden, size))


@pytest.mark.parametrize("hidden", [16, 64, 128])
@pytest.mark.skipif(MAX_BLOCKS["real"] < 8, reason="the sizes need clusters")
def test_the_gpu_has_room_for_the_layouts_of_the_papers_sizes(hidden):
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        for plan in px.resident_plan(32, 32, hidden, images=16, directions=2, dtype=dtype):
            assert plan.startswith("step path: faster ") or "step path" not in plan


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_masked_convolution(dtype):
    mask = Mask("B", 3, 1)
    x, weight, bias, cotangent = (torch.randn(s).to(dtype) for s in ((2, 6, 7, 9), (12, 6, 3, 3), (12,), (2, 12, 7, 9)))
    want, _ = expected_results(x, weight, bias, mask, False, cotangent)
    leaves = [t.cuda().requires_grad_() for t in (x, weight, bias)]
    y = px.functional.masked_conv2d(*leaves, mask_type="B", image_channels=3, backend="native")
    got = y.detach(), *torch.autograd.grad(y, leaves, cotangent.cuda())
    for (name, expected), tensor in zip(want.items(), got):
        assert_close(name, expected, tensor.cpu(), 1e-6 if dtype == torch.float32 else 5e-3)


@each_backend
def test_tf32_is_taken_where_torch_allows_it_and_nowhere_else(backend):
    layer, x, _ = layer_case("bilstm", backend, hidden=64, maps=(2, 8, 8))
    # The step path's products are torch's, a resident kernel replaces those of cuDNN.
    settings = torch.backends.cuda.matmul if backend == "step" else torch.backends.cudnn.rnn
    old = torch.backends.cuda.matmul if backend == "step" else torch.backends.cudnn
    strict = layer(x)
    old.allow_tf32 = True
    by_flag = layer(x)
    old.allow_tf32 = False
    assert torch.equal(layer(x), strict)
    settings.fp32_precision = "tf32"
    by_name = layer(x)
    settings.fp32_precision = "ieee"
    assert torch.equal(by_flag, by_name)
    assert torch.equal(layer(x), strict)
    assert torch.equal(by_flag, strict) == (torch.cuda.get_device_capability() < (8, 0))


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "forward+backward"])
@each_format
@each_backend
@each_kind
def test_a_graph_is_replayed_with_new_input(name, backend, format, backward):
    layer, x, cotangent = layer_case(name, backend, format)
    sizes = ragged_sizes(3, 7, 11).to("cuda") if name == "stable" or backend == "step" else None

    def step():
        return training_step(layer, x, cotangent, sizes) if backward else (layer(x, sizes=sizes).detach(),)

    graph, captured = capture(step)
    for seed, other in ((1, [(7, 11), (0, 3), (5, 2)]), (2, [(1, 1), (6, 6), (2, 11)])):
        torch.manual_seed(seed)
        with torch.no_grad():
            x.normal_()
            cotangent.normal_()
            if sizes is not None:
                sizes.copy_(torch.tensor(other))
        graph.replay()
        assert_same(step(), captured, f"seed {seed}, ")


@each_backend
def test_a_size_that_has_not_run_before_is_captured(backend):
    """The first call for a size, even during a capture, queries the GPU and loads kernels."""
    layer, x, *_ = layer_and_maps(REAL_GPU, "bilstm", backend, hidden=24, maps=(2, 6, 13))
    cotangent = torch.randn(2, 24, 6, 13, device="cuda")
    x.requires_grad_()
    graph, captured = capture(lambda: training_step(layer, x, cotangent), warm_ups=0)
    graph.replay()
    assert_same(training_step(layer, x, cotangent), captured)


@each_backend
@each_kind
def test_it_runs_on_the_current_stream(name, backend):
    """With torch's stream delayed, a kernel on another stream would read old values."""
    layer, x, cotangent = layer_case(name, backend)
    expected = training_step(layer, x, cotangent)
    late, late_cotangent = torch.zeros_like(x).requires_grad_(), torch.zeros_like(cotangent)
    stream = torch.cuda.Stream()
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(100_000_000)
        with torch.no_grad():
            late.copy_(x)
            late_cotangent.copy_(cotangent)
        got = training_step(layer, late, late_cotangent)
        assert not stream.query(), "expected no call to wait for the GPU"
    torch.cuda.synchronize()
    assert_same(expected, got)


@each_format
@each_backend
@each_kind
def test_bit_identical_from_run_to_run_and_beside_others(name, backend, format):
    layer, x, cotangent = layer_case(name, backend, format, hidden=64, maps=(5, 17, 19))
    first = training_step(layer, x, cotangent)
    streams = [torch.cuda.Stream() for _ in range(4)]
    runs = [training_step(layer, x, cotangent) for _ in range(4)]
    torch.cuda.synchronize()
    for stream in streams:
        with torch.cuda.stream(stream):
            runs += [training_step(layer, x, cotangent) for _ in range(2)]
    torch.cuda.synchronize()
    for run, results in enumerate(runs):
        assert_same(first, results, f"run {run}, ")


@each_backend
@each_kind
def test_memory_does_not_grow(name, backend):
    layer, x, cotangent = layer_case(name, backend)
    allocated = []
    for _ in range(20):
        training_step(layer, x, cotangent)
        torch.cuda.synchronize()
        allocated.append(torch.cuda.memory_allocated())
    assert allocated[3:] == allocated[3:4] * 17


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="a second GPU is needed")
@each_backend
def test_a_device_that_is_not_the_current_one(backend):
    layer, x, cotangent = layer_case("bilstm", backend)
    expected = training_step(layer, x, cotangent)
    other = copy.deepcopy(layer).to("cuda:1")
    got = training_step(other, x.detach().to("cuda:1").requires_grad_(), cotangent.to("cuda:1"))
    assert torch.cuda.current_device() == 0
    for a, b in zip(expected, got):
        assert b.device.index == 1
        assert_close("result", a.cpu(), b.cpu(), REAL_GPU.bound("output", "fp32"))
    with pytest.raises(ValueError, match="on one device, got input on cuda:0 and weight_ih on cuda:1"):
        other(x)


def test_layers_refuse_what_their_parameters_do_not_fit():
    layer, x, _ = layer_case("row3", "native")
    with pytest.raises(ValueError, match="on one device, got input on cpu and weight_ih on cuda:0"):
        layer(x.cpu())
    with pytest.raises(TypeError, match="got input of torch.bfloat16 and weight_ih of torch.float32"):
        layer(x.bfloat16())


@pytest.mark.parametrize("other", ["cpu", "cuda:1"])
def test_a_raw_convolution_refuses_tensors_of_two_devices(other):
    if other == "cuda:1" and torch.cuda.device_count() < 2:
        pytest.skip("a second GPU is needed")
    x, weight = torch.randn(1, 2, 3, 4, device="cuda"), torch.randn(5, 2, 3, 3, device=other)
    with pytest.raises((ValueError, RuntimeError), match="expected all tensors on one device, got "):
        REAL_GPU.ops.masked_conv2d(x, weight, None, "B", 1, 1, False)


@pytest.mark.parametrize(
    ("name", "compiler"),
    [("row3", "aot_eager"), ("bilstm", "aot_eager"), ("bilstm", "inductor"), ("stable", "inductor")],
)
def test_compile_fullgraph(name, compiler):
    torch._dynamo.reset()
    layer, x, cotangent = layer_case(name, "native", maps=(2, 5, 6))
    sizes = ragged_sizes(2, 5, 6).to("cuda") if name == "stable" else None
    expected = training_step(layer, x, cotangent, sizes)
    got = training_step(torch.compile(layer, fullgraph=True, backend=compiler), x, cotangent, sizes)
    for i, (a, b) in enumerate(zip(expected, got)):
        assert_close(f"result {i}", a, b, REAL_GPU.bound("dweight_hh", "fp32"))
