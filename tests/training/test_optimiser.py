"""Tests what the optimisers do on a GPU, with tensors on a CPU."""

import pytest
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from pixelrnn_ext.training import optimiser


@pytest.mark.parametrize("scale", [0.0, 1e-4, 1.0, 1e3, float("inf"), float("nan")])
def test_gradients_are_clipped_as_by_torch(scale):
    torch.manual_seed(0)
    gradients = [scale * torch.randn(size, dtype=torch.float64) for size in (3, 50)]
    parameters = [torch.nn.Parameter(torch.zeros_like(gradient)) for gradient in gradients]
    for parameter, gradient in zip(parameters, gradients):
        parameter.grad = gradient.clone()
    torch.nn.utils.clip_grad_norm_(parameters, 0.5)
    optimiser.divide_gradients(gradients, 0.5)
    for parameter, gradient in zip(parameters, gradients):
        torch.testing.assert_close(gradient, parameter.grad, rtol=1e-14, atol=0, equal_nan=True)


def test_without_gradients_nothing_is_clipped():
    optimiser.clip_gradients([torch.nn.Parameter(torch.ones(2))], 1.0)


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_a_learning_rate_on_the_device_is_the_same(decay):
    tensor, number = (optimiser.make("rmsprop", [torch.nn.Parameter(torch.ones(5))], 0.1, decay) for _ in range(2))
    tensor.param_groups[0]["lr"] = torch.tensor(0.1)
    for rate in (0.1, 0.1, 0.02, 0.3):
        for made in (tensor, number):
            [parameter] = made.param_groups[0]["params"]
            parameter.grad = torch.linspace(-1, 1, 5)
            optimiser.set_learning_rate(made, rate)
            made.step()
        torch.testing.assert_close(*(made.param_groups[0]["params"][0] for made in (tensor, number)))
        assert float(tensor.param_groups[0]["lr"]) == pytest.approx(rate)


def test_the_average_is_torchs():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    ours = optimiser.MovingAverage(model, 0.9)
    theirs = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    for _ in range(3):
        model(torch.randn(5, 3)).sum().backward()
        torch.optim.SGD(model.parameters(), 0.1).step()
        for average in (ours, theirs):
            average.update_parameters(model)
        assert all(map(torch.equal, ours.state_dict().values(), theirs.state_dict().values()))
