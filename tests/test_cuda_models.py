"""The models and their sampling on a GPU, where a pixel is a captured CUDA graph."""

import os

import pytest
import torch
from checks import assert_close
from test_sampling import MODELS, generator, make

import pixelrnn_ext as px

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
if not torch.cuda.is_available():
    reason = f"expected a GPU with CUDA, got none that torch {torch.__version__} can use"
    pytest.skip(f"no model is tested on a GPU: {reason}", allow_module_level=True)
pytestmark = pytest.mark.cuda


@pytest.mark.parametrize(("dtype", "ratio"), [(torch.float64, 1e-12), (torch.float32, 1e-5)], ids=["fp64", "fp32"])
@pytest.mark.parametrize("colours", ["gray", "rgb"])
@pytest.mark.parametrize("name", MODELS)
def test_incremental_logits(name, colours, dtype, ratio):
    model = make(name, colours, dtype, condition_channels=2).cuda()
    images = torch.randint(model.levels, (3, model.image_channels, 4, 6), device="cuda")
    condition = torch.randn(3, 2, 1, 1, device="cuda", dtype=dtype)
    with torch.no_grad():
        full = model(images, condition)
    assert_close("logits", full, model.incremental_logits(images, condition), ratio)


@pytest.mark.parametrize("name", MODELS)
def test_a_gpu_draws_what_a_cpu_draws(name):
    model = make(name, "rgb")
    expected = model.sample(3, (3, 4, 6), generator=generator())
    images = model.cuda().sample(3, (3, 4, 6), generator=generator())
    assert images.is_cuda
    assert torch.equal(images.cpu(), expected)


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
