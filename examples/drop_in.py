"""Replaces a block of convolutions in a small segmentation net by Diagonal BiLSTMs, and trains both nets.

The images are noisy outlines of rectangles. The net has to label the pixels inside a rectangle, which may be far from
the outline. Both nets have about the same number of parameters. Takes about a minute on two cores.

    python examples/drop_in.py
"""

import argparse
import time

import torch
from torch import Tensor, nn

import pixelrnn_ext as px


def rectangles(count: int, side: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Returns images and their labels, both float of shape (count, 1, side, side).

    An image shows the noisy outlines of two rectangles. The labels are 1 inside a rectangle, and 0 elsewhere.
    """
    # The axes of ``corners`` are: rectangle, image, row or column, and first or last position.
    corners = torch.rand(2, count, 2, 2, generator=generator).sort(dim=-1).values
    low, high = (corners * (side - 1)).round().unbind(-1)
    positions = torch.arange(side)

    def boxes(margin: int) -> Tensor:
        """Returns masks (2, count, side, side) of the rectangles, shrunk by ``margin`` pixels on each side."""
        spans = (positions >= low[..., None] + margin) & (positions <= high[..., None] - margin)
        return spans[:, :, 0, :, None] & spans[:, :, 1, None, :]

    outlines, inside = (boxes(0) & ~boxes(1)).any(0), boxes(1).any(0)
    noise = 0.3 * torch.randn(count, 1, side, side, generator=generator)
    return outlines[:, None].float() + noise, inside[:, None].float()


def convolutions(channels: int) -> nn.Module:
    """Returns the block of convolutions to replace. Its receptive field is 7 x 7 pixels."""
    layers = [nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU()) for _ in range(3)]
    return nn.Sequential(*layers)


class DiagonalContext(nn.Module):
    """Two Diagonal BiLSTMs that replace the convolutions.

    The first one sees all pixels before a pixel in raster order. The second one runs on the image turned by 180
    degrees, and so sees all pixels after it.
    """

    def __init__(self, channels: int, hidden_channels: int) -> None:
        super().__init__()
        self.before = px.DiagonalBiLSTM(channels, hidden_channels)
        self.after = px.DiagonalBiLSTM(channels, hidden_channels)
        self.merge = nn.Conv2d(2 * hidden_channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        after = self.after(x.flip(2, 3)).flip(2, 3)
        return self.merge(torch.cat([self.before(x), after], 1)).relu()


def segmentation_net(block: nn.Module, channels: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, channels, 3, padding=1), nn.ReLU(), block, nn.Conv2d(channels, 1, 1))


def train(net: nn.Module, side: int, steps: int, batch: int, seed: int) -> tuple[float, float]:
    """Returns the net's intersection over union on new images, and the seconds of its training."""
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(net.parameters(), 3e-3)
    start = time.perf_counter()
    for _ in range(steps):
        images, inside = rectangles(batch, side, generator)
        optimiser.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(net(images), inside).backward()
        optimiser.step()
    seconds = time.perf_counter() - start
    images, inside = rectangles(200, side, torch.Generator().manual_seed(seed + 1))
    with torch.no_grad():
        found = net(images) > 0
    union = found.logical_or(inside.bool()).sum()
    return (found.logical_and(inside.bool()).sum() / union.clamp(min=1)).item(), seconds


def main(arguments: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    channels = 16
    scores = {}
    print(f"{'block':<20} {'parameters':>10} {'IoU':>6} {'seconds':>8}")
    for name, make in {
        "three convolutions": lambda: convolutions(channels),
        "Diagonal BiLSTMs": lambda: DiagonalContext(channels, hidden_channels=10),
    }.items():
        torch.manual_seed(options.seed)
        block = make()
        net = segmentation_net(block, channels)
        scores[name], seconds = train(net, options.side, options.steps, options.batch, options.seed)
        parameters = sum(parameter.numel() for parameter in block.parameters())
        print(f"{name:<20} {parameters:>10} {scores[name]:>6.3f} {seconds:>8.1f}")
    return scores


if __name__ == "__main__":
    main()
