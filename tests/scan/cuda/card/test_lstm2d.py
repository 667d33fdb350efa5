"""LSTM2d on a GPU: against the reference in float64, and with sizes there, graphs, autocast and torch.compile."""

import copy

import pytest
import torch
from torch.autograd import gradcheck

from helpers.checks import assert_close
from helpers.gpu import _strict_products, skip_without_a_gpu, skips_without_a_kernel, use  # noqa: F401
from helpers.scans import DTYPES, LSTM2D, OUTPUTS, REFERENCE, Problem, make_layer, ragged_sizes
from helpers.scans import results as results_of

from .bounds import GRADIENT_RATIO, RATIO

skip_without_a_gpu()
pytestmark = pytest.mark.cuda

DEVICE = "cuda"
BACKENDS = ("native", "step", "resident")


def layer_of(variant, hidden, backend, dtype=torch.float32, **options):
    return make_layer(variant, 3, hidden, backend=backend, dtype=dtype, **options).to(DEVICE)


def results(layer, *args):
    with skips_without_a_kernel(layer.backend):
        return results_of(layer, *args)


@pytest.mark.parametrize("format", DTYPES)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("sizes", [None, ragged_sizes(5, 9, 12)], ids=["full", "ragged"])
@pytest.mark.parametrize("variant", LSTM2D)
def test_formats(variant, sizes, backend, format):
    layer = layer_of(variant, 32, backend, DTYPES[format])
    x = torch.randn(5, 3, 9, 12, device=DEVICE, dtype=DTYPES[format])
    use(format)
    got = results(layer, x, sizes)
    exact = copy.deepcopy(layer).double()
    exact.backend = "reference"
    for name, expected in results(exact, x.double(), sizes).items():
        assert_close(name, expected, got[name], (RATIO if name == "output" else GRADIENT_RATIO)[format])


@pytest.mark.parametrize("format", DTYPES)
@pytest.mark.parametrize("path", ["step", "auto"])
@pytest.mark.parametrize("variant", ["stable", "pixelrnn"])
def test_operators_with_nan_outside_of_the_images(variant, path, format):
    p = Problem(format, variant, 32, (4, 7, 10), corners=(0, 1, 2, 3), sizes=[(7, 10), (3, 4), (0, 5), (7, 1)])
    expected = p.run(REFERENCE, torch.float64)  # on the CPU
    for name, got in p.run(REFERENCE, p.dtype, path, DEVICE).items():
        bounds = RATIO if name in OUTPUTS else GRADIENT_RATIO
        assert_close(name, expected[name], got.cpu(), bounds[format])


@pytest.mark.parametrize("maps", [(1, 1, 9), (1, 9, 1), (2, 1, 1), (3, 12, 7), (2, 40, 17)], ids=str)
@pytest.mark.parametrize("backend", BACKENDS)
def test_maps(backend, maps):
    (n, height, width), layer = maps, layer_of("stable", 16, backend)
    x = torch.randn(n, 3, height, width, device=DEVICE)
    exact = copy.deepcopy(layer).double()
    exact.backend, got = "reference", results(layer, x)
    for name, expected in results(exact, x.double()).items():
        assert_close(name, expected, got[name], (RATIO if name == "output" else GRADIENT_RATIO)["fp32"])


@pytest.mark.parametrize("backend", ["native", "step"])
def test_sizes_on_the_gpu_are_those_on_the_cpu_and_clamped(backend):
    layer, x = layer_of("stable", 16, backend), torch.randn(3, 3, 6, 7, device=DEVICE)
    sizes = torch.tensor([(6, 7), (2, 3), (0, 1)])
    expected = layer(x, sizes)
    assert torch.equal(layer(x, sizes.to(DEVICE)), expected)
    assert torch.equal(layer(x, torch.tensor([(9, 70), (2, 3), (-1, 1)], device=DEVICE)), expected)


@pytest.mark.parametrize("variant", ["stable", "pixelrnn"])
@pytest.mark.parametrize("backend", ["native", "step"])
def test_a_cuda_graph_replayed_with_other_sizes(backend, variant):
    layer, x = layer_of(variant, 16, backend), torch.randn(3, 3, 6, 7, device=DEVICE)
    sizes, leaves = ragged_sizes(3, 6, 7).to(DEVICE), list(layer.parameters())

    def step():
        y = layer(x, sizes)
        return y.detach(), *torch.autograd.grad(y.square().sum(), leaves)

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        captured = step()
    for other in ([(6, 7), (0, 3), (5, 2)], [(1, 1), (6, 6), (2, 7)]):
        sizes.copy_(torch.tensor(other))
        graph.replay()
        for i, (a, b) in enumerate(zip(step(), captured)):
            assert torch.equal(a, b), f"{other}, result {i}"


@pytest.mark.parametrize("variant", ["graves-peepholes", "leaky"])
def test_derivatives(variant):
    layer = layer_of(variant, 2, "step", torch.float64, directions=("tr", "bl"))
    x = torch.randn(2, 3, 3, 4, device=DEVICE, dtype=torch.float64, requires_grad=True)
    sizes, names = ragged_sizes(2, 3, 4), [name for name, _ in layer.named_parameters()]

    def run(x, *parameters):
        return torch.func.functional_call(layer, dict(zip(names, parameters)), (x, sizes))

    assert gradcheck(run, (x, *layer.parameters()), fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bfloat16", "float16"])
def test_autocast(dtype):
    layer, x = layer_of("stable", 16, "native"), torch.randn(2, 3, 5, 6, device=DEVICE)
    with torch.autocast(DEVICE, dtype):
        y = layer(x)
    assert y.dtype == dtype
    assert_close("output", layer(x), y, RATIO["bf16" if dtype == torch.bfloat16 else "fp16"])


def test_compile_fullgraph():
    layer, sizes = layer_of("stable", 16, "native"), ragged_sizes(2, 5, 6).to(DEVICE)
    x = torch.randn(2, 3, 5, 6, device=DEVICE)
    assert_close("output", layer(x, sizes), torch.compile(layer, fullgraph=True)(x, sizes), RATIO["fp32"])
