"""An installed pixelrnn_ext has its CPU kernels and takes a step forward and backward; needs nothing but torch."""

import torch

import pixelrnn_ext as px

if why := px.build_config()["why_no_native"]:
    raise SystemExit(f"smoke test: expected the CPU kernels, got none: {why}")

layer = px.DiagonalBiLSTM(3, 8)
images = torch.randn(2, 3, 5, 6, requires_grad=True)
y = layer(images)
y.square().mean().backward()

gradients = {name: parameter.grad for name, parameter in layer.named_parameters()}
for name, tensor in {"output": y, "input gradient": images.grad, **gradients}.items():
    if tensor is None or not tensor.isfinite().all():
        raise SystemExit(f"smoke test: expected finite values in {name}, got {tensor}")
