"""Checks the masked convolution's Triton kernels on the CPU, under Triton's interpreter.

tests/masked_conv/test_triton.py calls these functions in a process with TRITON_INTERPRET=1.
"""

import itertools
from functools import partial

import pytest
import torch

from helpers.checks import assert_close
from pixelrnn_ext import reference
from pixelrnn_ext.masks import Mask, causal_mask
from pixelrnn_ext.operators.masked_conv import gpu
from pixelrnn_ext.operators.masked_conv import gpu_kernels as kernels
from pixelrnn_ext.operators.masked_conv import gpu_tiles as tiles
from pixelrnn_ext.operators.masked_conv.arguments import Convolution, Gradients

if tiles.INTERPRETED:
    from triton.runtime import interpreter

    _patch_lang_tensor = interpreter._patch_lang_tensor

    def _patch_with_index(tensor, scope):
        """Without the method __index__, Triton 3.6 calls int() on arrays of one value, which NumPy 2.4 refuses."""
        _patch_lang_tensor(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: self.handle.data.item())

    interpreter._patch_lang_tensor = _patch_with_index


# Error bounds for assert_close. A sum over 100 tiles errs by about sqrt(100) unit roundoffs, and the float32 bound is
# 17. Half-precision results are computed in float32 and rounded once.
RATIO = {torch.float32: 1e-6, torch.bfloat16: 5e-3, torch.float16: 1e-3}


def expected_results(input, weight, bias, mask, relu, cotangent):
    """Returns {name: result} of a masked convolution in float64, and which weights are not masked, as a bool tensor."""
    leaves = {"dinput": input, "dweight": weight, "dbias": bias}
    leaves = {name: leaf.double().requires_grad_() for name, leaf in leaves.items() if leaf is not None}
    options = dict(image_channels=mask.image_channels, gates=mask.gates)
    alive = causal_mask(mask.mask_type, *weight.shape[:2], tuple(weight.shape[2:]), **options)
    operands = leaves["dinput"], leaves["dweight"], leaves.get("dbias")
    output = reference.masked_conv2d(*operands, mask.mask_type, **options, activation="relu" if relu else None)
    gradients = torch.autograd.grad(output, leaves.values(), cotangent.double())
    return {"output": output.detach(), **dict(zip(leaves, gradients))}, alive.bool()


def check(
    kernel_size, mask, sizes, *, relu=False, has_bias=True, channels_last=False, dtype=torch.float32, strided=False
):
    """Compares the kernels with results in float64. Masked weights are NaN, since kernels must not use them."""
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True)  # in this mode torch fills new memory with NaN
    n, in_channels, out_channels, height, width = sizes
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    # .to(memory_format=...) would not change the strides of a map of one channel.
    if channels_last:
        input = torch.randn(n, height, width + strided, in_channels).permute(0, 3, 1, 2)
    else:
        input = torch.randn(n, in_channels, height, width + strided)
    input = input.to(dtype)[..., int(strided) :]
    weight = torch.randn(out_channels, in_channels, *kernel_size).to(dtype)
    bias = torch.randn(out_channels).to(dtype) if has_bias else None
    cotangent = torch.randn(n, out_channels, height, width).to(dtype)
    want, alive = expected_results(input, weight, bias, Mask(*mask), relu, cotangent)
    poisoned = torch.where(alive, weight, torch.nan)

    assert gpu.why_not(input) is None
    output = gpu.forward(Convolution(input, poisoned, bias, *mask, relu))
    if relu:
        # Rounding can change the sign of a ReLU's input near 0, and so switch its gradient on or off. Such outputs get
        # the cotangent 0.
        same_sign = (want["output"] > 0) == (output > 0)
        assert same_sign.double().mean() > 0.99 or n == 0
        cotangent = cotangent * same_sign
        want = expected_results(input, weight, bias, Mask(*mask), relu, cotangent)[0]
    gradients = gpu.backward(Gradients(cotangent, output, input, poisoned, *mask, relu, True, True, has_bias))
    got = {"output": output, **dict(zip(("dinput", "dweight", "dbias"), gradients))}
    assert has_bias or got.pop("dbias") is None
    for name in want:
        assert got[name].dtype == dtype
        assert_close(name, want[name], got[name], RATIO[dtype])
    assert (got["dweight"][~alive] == 0).all()
    for name in "output", "dinput":
        assert got[name].is_contiguous(memory_format=memory_format), f"{name}: strides {got[name].stride()}"


def check_subsets():
    torch.manual_seed(0)
    mask = Mask("B", 3, 1)
    input, weight, cotangent = torch.randn(2, 4, 5, 6), torch.randn(5, 4, 3, 3), torch.randn(2, 5, 5, 6)
    output = gpu.forward(Convolution(input, weight, torch.randn(5), *mask, True))

    def gradients(*needed):
        return gpu.backward(Gradients(cotangent, output, input, weight, *mask, True, *needed))

    first, second = gradients(True, True, True), gradients(True, True, True)
    assert all(map(torch.equal, first, second))
    for needed in itertools.product((False, True), repeat=3):
        for name, need, expected, got in zip(("dinput", "dweight", "dbias"), needed, first, gradients(*needed)):
            assert (got is not None) == need
            if need:
                assert_close(name, expected, got, 1e-6)


def check_parts():
    """Checks images so large that several Triton programs sum the weight's gradient."""
    torch.manual_seed(0)
    mask = Mask("A", 3, 1)
    input, weight = torch.randn(3, 3, 19, 23), torch.randn(3, 3, 3, 1)
    cotangent = torch.ones(()).expand(3, 3, 19, 23)
    assert input.numel() // 3 >= 2 * gpu._MIN_PIXELS
    want, _ = expected_results(input, weight, None, mask, False, cotangent)
    got = gpu.backward(Gradients(cotangent, None, input, weight, *mask, False, True, True, False))
    for name, gradient in zip(("dinput", "dweight"), got):
        assert_close(name, want[name], gradient, 1e-6)


def check_refused():
    assert "float64" in gpu.why_not(torch.empty(1, 1, 2, 2, dtype=torch.float64))
    assert "pixels" in gpu.why_not(torch.empty(1, 1, 1, 1).expand(2, 1, 2**15, 2**15))


def check_a_capture():
    """Checks that launches during the capture of a CUDA graph use the relaxed mode, and that the tuner times none."""
    modes, launched_in, mode = [], [], 0

    def exchange(wanted):
        nonlocal mode
        mode, wanted.value = wanted.value, mode
        modes.append(mode)

    class FailingTuner:
        def __getitem__(self, grid):
            raise AssertionError("timed while a graph is captured")

    def recorded(run, *args, **kwargs):
        launched_in.append(mode)
        return run(*args, **kwargs)

    names = ("output_kernel", "input_gradient_kernel", "weight_gradient_kernel")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: False)
        patch.setattr(tiles, "AUTOTUNE", True)
        patch.setattr(tiles, "_is_capturing", lambda tensor: True)
        patch.setattr(tiles, "_exchange_capture_mode", exchange)
        for name in names:
            patch.setattr(getattr(kernels, name), "tuner", FailingTuner())
        for kernel in (kernels.pack_kernel, *(getattr(kernels, name).kernel for name in names)):
            patch.setattr(kernel, "run", partial(recorded, kernel.run))
        check((3, 3), ("B", 3, 1), (1, 3, 4, 3, 4), relu=True)
    assert launched_in == [2] * 5  # all five launches see the relaxed mode of stream capture, number 2
    assert modes == [2, 0] * 3


def is_interpreted():
    return tiles.INTERPRETED
