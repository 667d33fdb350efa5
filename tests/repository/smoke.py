"""Checks an installed pixelrnn_ext with nothing but torch.

It has its CPU kernels, takes a step forward and backward, plans its CUDA kernels if it has any, and writes the codec's
known file.
"""

import zlib

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

if px.build_config()["cuda"]:
    plan = px.resident_plan(32, 32, 128, dtype=torch.bfloat16, capability=(9, 0))
    if not plan.forward.startswith("forward_bf16_") or not plan.backward.startswith("backward_bf16_"):
        raise SystemExit(f"smoke test: expected resident kernels for compute capability 9.0, got {plan}")

# Parameters and images that no random numbers of torch make: the same file with every torch, for ever.
model = px.PixelRNN("diagonal", image_channels=3, levels=5, hidden_channels=6, num_layers=2, head_channels=7)
with torch.no_grad():
    for parameter in model.parameters():
        parameter.copy_(((torch.arange(parameter.numel()) * 37 % 101 - 50) / 64).view(parameter.shape))
images = (torch.arange(70 * 3 * 4 * 5) ** 2 // 7 % 5).view(70, 3, 4, 5)  # more than a block
file = model.compress(images)
if zlib.crc32(file) != 237086900:
    raise SystemExit(
        f"smoke test: expected the codec's known file, got one of {len(file)} bytes, CRC-32 {zlib.crc32(file)}"
    )
if not torch.equal(model.decompress(file), images):
    raise SystemExit("smoke test: expected the images that were compressed, got others")
