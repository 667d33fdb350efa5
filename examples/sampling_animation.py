"""An animation of how a model draws: pixel by pixel in raster order, each given all before it.

The command does the same: `pixelrnn sample mnist5k-diagonal --out digits.gif`. Needs the `train` extra.

    python examples/sampling_animation.py --out digits.gif
"""

import argparse
from pathlib import Path

import torch

import pixelrnn_ext as px
from pixelrnn_ext.training import animation


def main(arguments: list[str] | None = None) -> torch.Tensor:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.gif")
    parser.add_argument("--model", choices=px.models.PRETRAINED, default="mnist5k-diagonal")
    parser.add_argument("--count", type=int, default=16, help="images (%(default)s)")
    parser.add_argument("--columns", type=int, default=8, help="(%(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)

    model = px.pretrained(options.model)
    generator = torch.Generator().manual_seed(options.seed)
    # Once is enough: the model never changes a pixel that it has drawn.
    drawn = model.sample(options.count, (1, 28, 28), generator=generator)

    nothing_known = torch.zeros(1, 1, 28, 28, dtype=torch.bool)
    order = animation.drawing_order(model, nothing_known)
    undrawn = torch.full(drawn.shape, 0.5)
    animation.write_animation(options.out, undrawn, drawn.float(), order, options.columns)
    print(f"{options.count} images as they are drawn: {options.out}")
    return drawn


if __name__ == "__main__":
    main()
