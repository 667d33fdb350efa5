"""Counts the operators of training steps with fake tensors of a GPU."""

from contextlib import suppress

import pytest
import torch
from torch._subclasses.fake_tensor import DynamicOutputShapeException

import count_operators
import pixelrnn_ext as px
from harness.fake_gpu import fake_gpu
from helpers.checks import native
from pixelrnn_ext import likelihood, sampling
from pixelrnn_ext.models import stack

triton = pytest.importorskip("triton")  # the first layer's convolution has kernels only with triton
pytestmark = native

SMALL = dict(hidden_channels=6, num_layers=2, head_channels=6)
OPTIMISERS = dict(
    rmsprop=dict(optimiser="rmsprop", weight_decay=0.1, ema=0.9),
    adamw=dict(optimiser="adamw", warmup=1, schedule="cosine"),
    bf16=dict(optimiser="adamw", ema=0.9, bf16=True, clip=0.0),
)


def test_the_table_names_the_most_frequent_operators(capsys):
    count_operators.main(["--names", "30"])
    table = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in table[2:9]] == [*count_operators.PHASES, "all"]
    assert "10 convolution" in table[2] and "10 convolution_backward" in table[3]
    assert table[-1] == "waits for the GPU: none"


def test_half_of_pytorchs_operators_are_left():
    """Before the parameters of all layers were packed at once, at 58751dc, the same script counted 334 and 348."""
    found = count_operators.totals(count_operators.count_step("mnist-diagonal")[0], ours=False)
    assert found["forward"] + found["backward"] <= 334 // 2
    assert sum(found.values()) <= 348 // 2


@pytest.mark.covering(1)
@pytest.mark.parametrize("settings", OPTIMISERS.values(), ids=OPTIMISERS)
@pytest.mark.parametrize("conditional", [False, True], ids=["", "conditional"])
@pytest.mark.parametrize("rgb", [False, True], ids=["binary", "rgb"])
@pytest.mark.parametrize("model", ["row", "diagonal", "pixelcnn", "multiscale"])
def test_no_step_waits_for_the_gpu(model, rgb, conditional, settings):
    counter, training = count(model, rgb=rgb, conditional=conditional, **settings)
    assert not counter.waits
    groups, states = training.optimiser.param_groups, training.optimiser.state.values()
    assert {t.device.type for t in (*(g["lr"] for g in groups), *(s["step"] for s in states))} == {"cuda"}
    assert all(group["capturable"] for group in groups)


@pytest.mark.parametrize("temperature", [0, 1])
def test_a_draw_does_not_wait_for_the_gpu(temperature):
    with fake_gpu() as counter:
        logits, uniform = torch.zeros(3, 2, device="cuda"), torch.zeros(3, dtype=torch.float64, device="cuda")
        likelihood.draw(logits, uniform, temperature)
    assert counter.total("", "operator") and not counter.waits


def test_a_sampler_waits_once_to_compare_all_parameters():
    with fake_gpu() as counter, torch.device("cuda"):
        model = px.PixelRNN("row", image_channels=1, levels=2, **SMALL)
        assert sampling._State(model).equals(sampling._State(model))
    assert counter.waits.total() == 1


@pytest.mark.parametrize(
    "wait, name",
    [
        (lambda x: float(x.sum()), "aten::_local_scalar_dense"),
        (lambda x: x.relu().cpu(), "aten::_to_copy"),
        (lambda x: torch.zeros(2).to(x.device), "aten::_to_copy"),
        (lambda x: x[x > 0].sum(), "aten::index"),
        (lambda x: torch.empty(x.shape).copy_(x.relu()), "aten::copy_"),
    ],
    ids=["item", "cpu", "gpu", "mask", "copy"],
)
def test_a_wait_is_found(monkeypatch, wait, name):
    forward = stack.PixelRNN.logit_map

    def waits(self, x, condition):
        with suppress(DynamicOutputShapeException):  # a fake tensor has no values that a mask could select
            wait(x)
        return forward(self, x, condition)

    monkeypatch.setattr(stack.PixelRNN, "logit_map", waits)
    assert name in count("row")[0].waits


def count(model, **settings):
    return count_operators.count_step(model, sizes=SMALL, batch_size=4, steps=3, **settings)
