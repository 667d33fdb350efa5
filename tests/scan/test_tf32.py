"""Tests which of torch's settings allow tf32 in layers on a GPU. No test needs one."""

from contextlib import nullcontext

import pytest
import torch
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

import pixelrnn_ext as px
from helpers.checks import native
from helpers.scans import OPS, Problem
from pixelrnn_ext.operators import backends
from pixelrnn_ext.operators.masked_conv import run as masked_conv
from pixelrnn_ext.operators.precision import allows_tf32

CUDNN = torch.backends.cudnn
SETTINGS = torch.backends.cuda.matmul, CUDNN, CUDNN.rnn, CUDNN.conv, torch.backends


def change(*settings):
    """Changes settings of torch: (object, name, value)."""
    return lambda: [setattr(*setting) for setting in settings]


# {name: (change of the settings, tf32 in a recurrence, tf32 in a masked convolution)}
CASES = {
    "torch's default": (change(), True, True),
    "the old flag off": (change((CUDNN, "allow_tf32", False)), False, False),
    "the old flag off and on": (change((CUDNN, "allow_tf32", False), (CUDNN, "allow_tf32", True)), True, True),
    "a strict rnn": (change((CUDNN.rnn, "fp32_precision", "ieee")), False, True),
    "a strict conv": (change((CUDNN.conv, "fp32_precision", "ieee")), True, False),
    "old, then new": (change((CUDNN, "allow_tf32", False), (CUDNN.rnn, "fp32_precision", "tf32")), True, False),
    "new, then old": (change((CUDNN.conv, "fp32_precision", "ieee"), (CUDNN, "allow_tf32", True)), True, True),
    "torch.matmul only": (
        change((CUDNN, "allow_tf32", False), (torch.backends.cuda.matmul, "allow_tf32", True)), False, False
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _restored_settings():
    """Begins with torch's defaults, and restores the settings that were there before."""
    before = [settings.fp32_precision for settings in SETTINGS]
    CUDNN.rnn.fp32_precision = CUDNN.conv.fp32_precision = "tf32"
    yield
    for settings, value in zip(SETTINGS, before):
        settings.fp32_precision = value


@pytest.mark.skipif(torch.version.cuda is None, reason="a torch without CUDA has no fake tensors of a GPU")
@pytest.mark.parametrize("case", CASES)
def test_layers_on_a_gpu_follow_the_settings_of_what_they_replace(case, monkeypatch):
    changes, *expected = CASES[case]
    changes()
    assert [allows_tf32("rnn"), allows_tf32("conv")] == expected
    taken = []
    monkeypatch.setattr(backends, "choose", lambda *_: "auto")
    monkeypatch.setattr(masked_conv, "_why_not", lambda *_: None)
    # The operators give the first argument back, in which the second position has channels.
    monkeypatch.setattr(
        OPS, "scan", lambda *args: taken.append(args[-1]) or (args[0], args[0][..., None, :], None, None)
    )
    monkeypatch.setattr(OPS, "masked_conv2d", lambda *args: taken.append(args[-1]) or args[0])
    for layer in (px.DiagonalLSTM(4, 4), px.MaskedConv2d(4, 4, 3, "B")):
        with FakeTensorMode(allow_non_fake_inputs=True) as mode:
            layer.to("cuda")(torch.empty(1, 4, 2, 2, device="cuda"))
    assert taken == expected and mode is not None


class Recorder(TorchDispatchMode):
    """Records the last argument of each of our operators. It is ``tf32``, or missing if it is False."""

    def __init__(self):
        super().__init__()
        self.last = {}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        arguments = function._schema.arguments
        if arguments and arguments[-1].name == "tf32":
            given = len(args) == len(arguments)
            self.last[function._schema.name.removeprefix("pixelrnn_ext::")] = given and args[-1]
        return function(*args, **(kwargs or {}))


@native
@pytest.mark.parametrize("autocast", [False, True], ids=["plain", "autocast"])
@pytest.mark.parametrize("tf32", [False, True], ids=["ieee", "tf32"])
@pytest.mark.parametrize("operator", ["scan", "masked_conv2d"])
def test_a_backward_takes_the_choice_of_its_forward(operator, tf32, autocast):
    """The settings change between the passes, and the gradient is differentiated once more."""
    if operator == "scan":
        s = Problem("fp32", "row3", 4, (2, 3, 4)).scan(requires_grad=True)
        args = tuple(s._replace(tf32=tf32))
    else:
        args = torch.randn(1, 4, 3, 3, requires_grad=True), torch.randn(4, 4, 3, 3), None, "B", 1, 1, False, tf32
    backward = "scan_gradients" if operator == "scan" else "masked_conv2d_backward"
    with Recorder() as recorder, torch.autocast("cpu", torch.bfloat16) if autocast else nullcontext():
        y = getattr(OPS, operator)(*args)
        y = y if operator == "masked_conv2d" else y[0] if y[0].numel() else y[1]
        CUDNN.allow_tf32 = not tf32
        (gradient,) = torch.autograd.grad(y.float().square().sum(), args[0], create_graph=True)
        gradient.square().sum().backward()
    assert recorder.last == {operator: tf32, backward: tf32}


def test_the_kernels_of_a_convolution_get_the_choice():
    pytest.importorskip("triton")
    from pixelrnn_ext.operators.masked_conv import gpu
    from pixelrnn_ext.operators.masked_conv.arguments import Convolution

    c = Convolution(torch.empty(1, 2, 3, 3), torch.empty(2, 2, 3, 3), None, "B", 1, 1, False)
    found = [gpu._constants(c._replace(tf32=tf32))["PRECISION"] for tf32 in (False, True)]
    assert found == ["ieee", "tf32"]
