"""Tests the models on a GPU, where sampling captures the computation of a pixel as a CUDA graph."""

from functools import partial

import pytest
import torch

import pixelrnn_ext as px
from helpers import child
from helpers.checks import assert_close
from helpers.gpu import _strict_products, capture, skip_without_a_gpu  # noqa: F401
from helpers.models import each_colours, each_wired_model, generator, make_model, random_images
from pixelrnn_ext import sampling
from pixelrnn_ext.operators import columns
from pixelrnn_ext.operators.masked_conv import gpu_tiles as tiles

skip_without_a_gpu(kernels=False)
pytestmark = pytest.mark.cuda


@pytest.mark.parametrize(("dtype", "ratio"), [(torch.float64, 1e-12), (torch.float32, 1e-5)], ids=["fp64", "fp32"])
@each_colours
@each_wired_model
def test_incremental_logits(name, colours, dtype, ratio):
    model = make_model(name, colours, dtype, condition_channels=2).cuda()
    images = random_images(model, 3).cuda()
    condition = torch.randn(3, 2, 1, 1, device="cuda", dtype=dtype)
    with torch.no_grad():
        full = model(images, condition)
    assert_close("logits", full, model.incremental_logits(images, condition), ratio)


@pytest.mark.parametrize("way", ["images", "8 blocks", "stages", "pytorch"])
@each_wired_model
def test_a_gpu_draws_what_a_cpu_draws(name, way, monkeypatch):
    if way == "8 blocks":
        plan_rows, way = columns.plan_rows, "images"
        monkeypatch.setattr(columns, "plan_rows", lambda *arguments: plan_rows(*arguments[:4], 8))
    model = make_model(name, "rgb")
    expected = model.sample(3, (3, 4, 6), generator=generator())
    draws = sampling.checked_draws(model.cuda(), 3, (3, 4, 6), generator(), 1.0, None, None)
    plans = []
    with torch.no_grad():
        images = model._draw(partial(sampling.incremental, ways=(way,), on_plan=plans.append), draws, None)
    if reason := next((str(plan) for plan in plans if plan.way != way), None):
        pytest.skip(reason)
    assert images.is_cuda
    assert torch.equal(images.cpu(), expected)


@each_wired_model
def test_a_drawing_is_captured(name):
    sampler = px.Sampler(make_model(name, "rgb", torch.float32).cuda(), 3, (3, 4, 6))
    if reason := next((str(plan) for plan in sampler.plans if plan.way != "images"), None):
        pytest.skip(reason)
    draw = partial(sampler.draw, generator=torch.cuda.default_generators[torch.cuda.current_device()])
    graph, images = capture(draw, warm_ups=1)
    for seed in (0, 1):
        torch.cuda.manual_seed(seed)
        graph.replay()
        captured = images.clone()
        torch.cuda.manual_seed(seed)
        assert torch.equal(captured, draw())


@pytest.mark.parametrize("measured", [False, True], ids=["fixed", "measured"])
def test_a_convolution_that_has_not_run_before_is_captured(measured, monkeypatch):
    """During the capture of a CUDA graph, a convolution may load its kernels, but must not time tile sizes."""
    torch.use_deterministic_algorithms(False)
    monkeypatch.setattr(tiles, "AUTOTUNE", measured)
    channels = 37 + measured  # no other test compiles or times this size
    conv = px.MaskedConv2d(3, channels, 5, "B", backend="native").cuda()
    x = torch.randn(2, 3, 9, 11, device="cuda", requires_grad=True)
    cotangent = torch.randn(2, channels, 9, 11, device="cuda")

    def step():
        y = conv(x)
        return y.detach(), *torch.autograd.grad(y, [x, *conv.parameters()], cotangent)

    graph, other = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
    torch.cuda.synchronize()
    with torch.cuda.graph(graph):
        captured = step()
    with torch.cuda.graph(other):
        twice = x.detach() * 2
    with torch.no_grad():
        x.normal_()
    graph.replay(), other.replay()
    assert torch.equal(twice, 2 * x)
    for a, b in zip(step(), captured):
        assert torch.equal(a, b) or (measured and (a - b).norm() <= 1e-6 * a.norm())


def test_a_convolution_has_the_same_bits_in_another_process():
    command = """if True:
        import hashlib, torch, pixelrnn_ext as px
        torch.manual_seed(0)
        conv, x = px.MaskedConv2d(24, 40, 3, "B").cuda(), torch.randn(3, 24, 17, 19).cuda().requires_grad_()
        y = conv(x)
        results = y, *torch.autograd.grad(y.square().sum(), [x, *conv.parameters()])
        print(hashlib.sha256(b"".join(t.detach().cpu().numpy().tobytes() for t in results)).hexdigest())
    """
    environment = child.environment(without=["PIXELRNN_TUNE_TILES"])
    first, second = (child.python("-c", command, env=environment) for _ in range(2))
    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    assert first.stdout and first.stdout == second.stdout


@each_wired_model
def test_a_training_step_is_captured(name):
    torch.use_deterministic_algorithms(False)
    model = make_model(name, "rgb", torch.float32, condition_channels=2).cuda()
    images = random_images(model).cuda()
    condition = torch.randn(2, 2, 1, 1, device="cuda")

    def step():
        loss = model.bits_per_dim(images, condition, check=False)
        return loss.detach(), *torch.autograd.grad(loss, model.parameters())

    graph, captured = capture(step, warm_ups=1)
    images.random_(model.levels)
    graph.replay()
    for expected, got in zip(step(), captured):
        assert_close("captured", expected, got, 1e-6)


def test_a_training_step():
    model = px.from_name("mnist-diagonal").cuda()
    images = torch.randint(2, (4, 1, 28, 28), dtype=torch.uint8, device="cuda")
    expected = px.from_name("mnist-diagonal", backend="reference")
    expected.load_state_dict(model.state_dict())
    loss, exact = model.bits_per_dim(images), expected.double().bits_per_dim(images.cpu())
    loss.backward(), exact.backward()
    assert_close("loss", exact.detach(), loss.detach().cpu(), 1e-6)
    for (parameter_name, parameter), reference in zip(model.named_parameters(), expected.parameters()):
        assert_close(parameter_name, reference.grad, parameter.grad.cpu(), 1e-5)
