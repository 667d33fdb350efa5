"""Tests layers on the CUDA kernels against their reference implementation in float64."""

import pytest
import torch

from helpers.scans import DTYPES, KINDS, LAYERS, LSTM2D, OPS, gate_bias_channels, ragged_sizes, results
from pixelrnn_ext.operators.scan import run

from .layers import NATIVE, compare, layer_and_maps, on_gpus_with_layers


@pytest.fixture(autouse=True)
def layers_call_the_emulator(gpu, monkeypatch):
    if gpu.emulator:
        paths = {"native": "auto", "step": "step", "resident": "resident"}
        monkeypatch.setattr(run.backends, "choose", lambda backend, device: paths.get(backend))
        monkeypatch.setattr(OPS, "scan", gpu.ops.scan)


@pytest.mark.parametrize("also", ["alone", "gate_bias", "sizes"])
@on_gpus_with_layers([*LAYERS, *LSTM2D], NATIVE, DTYPES)
def test_formats(name, backend, format, also, gpu):
    layer, x, exact, exact_x = layer_and_maps(gpu, name, backend, format)
    n, _, *size = x.shape
    options = exact_options = {}
    if also == "gate_bias":
        gate_bias = torch.randn(n, gate_bias_channels(layer), *size, device=gpu.device).to(x.dtype)
        options, exact_options = dict(gate_bias=gate_bias), dict(gate_bias=gate_bias.double())
    elif also == "sizes":
        options = exact_options = dict(sizes=ragged_sizes(n, *size))
        if backend == "resident" and (name in LAYERS or name == "pixelrnn"):
            with pytest.raises(RuntimeError, match="expected no sizes with a cell of four gates"):
                layer(x, **options)
            return
    got = results(layer, x, **options)
    assert all(tensor.dtype == DTYPES[format] for tensor in got.values())
    assert got["output"].is_contiguous(memory_format=torch.channels_last)
    compare(gpu, format, results(exact, exact_x, **exact_options), got)


@on_gpus_with_layers(["stable"], ["native", "step"], ["fp32"])
def test_sizes_on_the_gpu_are_those_on_the_cpu_and_clamped(name, backend, format, gpu):
    layer, x, *_ = layer_and_maps(gpu, name, backend, format, maps=(3, 5, 6))
    sizes = torch.tensor([(5, 6), (2, 3), (0, 1)])
    expected = layer(x, sizes)
    assert torch.equal(layer(x, sizes.to(gpu.device)), expected)
    # The host checks image sizes only if they lie in CPU memory, and refuses sizes that are out of range. The host does
    # not check sizes in a real GPU's memory, so the kernel must clamp these sizes.
    if not gpu.emulator:
        assert torch.equal(layer(x, torch.tensor([(9, 70), (2, 3), (-1, 1)], device=gpu.device)), expected)


@pytest.mark.parametrize("half", ["bf16", "fp16"])
@on_gpus_with_layers(KINDS, [*NATIVE, "reference"], ["fp32", "fp64"])
def test_autocast(name, backend, format, half, gpu):
    """Autocast makes a float32 layer compute in the half dtype, but not a float64 layer."""
    dtype = DTYPES[half] if format == "fp32" else torch.float64
    layer, x, exact, exact_x = layer_and_maps(gpu, name, backend, format)
    x.requires_grad_()
    with torch.autocast(gpu.device, DTYPES[half]):
        y = layer(x)
    assert y.dtype == dtype
    leaves = {"input": x, **dict(layer.named_parameters())}
    cotangent = torch.randn(y.shape, device=gpu.device).to(dtype)
    got = dict(zip(leaves, torch.autograd.grad(y, leaves.values(), cotangent)))
    assert all(gradient.dtype == DTYPES[format] for gradient in got.values())
    # Autocast also rounds a float32 layer's parameters, so the error bound is doubled.
    factor, format = (2, half) if format == "fp32" else (1, format)
    compare(gpu, format, results(exact, exact_x, cotangent=cotangent.double()), {"output": y, **got}, factor)
