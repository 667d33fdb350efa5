"""Checks that an installed pixelrnn_ext works with no other package but torch."""

import re
import zlib
from pathlib import Path

import torch


def loaded_openmp():
    maps = Path("/proc/self/maps")
    return set(re.findall(r"lib(?:gomp|i?omp)[^/\s]*", maps.read_text())) if maps.exists() else set()


torch_openmp = loaded_openmp()
import pixelrnn_ext as px  # noqa: E402


def expect(condition, expected, got):
    if not condition:
        raise SystemExit(f"smoke test: expected {expected}, got {got}")


layer = px.DiagonalBiLSTM(3, 8)
images = torch.randn(2, 3, 5, 6, requires_grad=True)
y = layer(images)
y.square().mean().backward()
expect(loaded_openmp() == torch_openmp, f"no OpenMP but torch's {torch_openmp}", loaded_openmp())
gradients = {name: parameter.grad for name, parameter in layer.named_parameters()}
for name, tensor in {"output": y, "input gradient": images.grad, **gradients}.items():
    expect(tensor is not None and tensor.isfinite().all(), f"finite values in {name}", tensor)
drawn = px.pretrained("mnist5k-row").sample(1, (1, 3, 4))
expect(drawn.shape == (1, 1, 3, 4), "a sample of shape (1, 1, 3, 4)", tuple(drawn.shape))

config = px.build_config()
if config["native"]:
    plan = px.resident_plan(32, 32, 128, dtype=torch.bfloat16, capability=(9, 0))
    is_resident = plan.forward.startswith("forward_bf16_") and plan.backward.startswith("backward_bf16_")
    expect(is_resident, "resident kernels for compute capability 9.0", plan)

# With torch's random numbers the compressed file could change with the version of torch.
model = px.PixelRNN("diagonal", image_channels=3, levels=5, hidden_channels=6, num_layers=2, head_channels=7)
with torch.no_grad():
    for parameter in model.parameters():
        parameter.copy_(((torch.arange(parameter.numel()) * 37 % 101 - 50) / 64).view(parameter.shape))
# A block of the codec holds 64 images, so these 70 images need two blocks.
images = (torch.arange(70 * 3 * 4 * 5) ** 2 // 7 % 5).view(70, 3, 4, 5)
file = model.compress(images)
expect(zlib.crc32(file) == 237086900, "the codec's golden file", f"{len(file)} bytes, CRC-32 {zlib.crc32(file)}")
expect(torch.equal(model.decompress(file), images), "the images that were compressed", "others")
expect(config["why_no_native"] is None, "the CPU kernels", f"none: {config['why_no_native']}")
