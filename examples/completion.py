"""Completes the lower halves of digits by a pretrained model, and prints how probable the true halves are.

The picture has a column for each image: the original, its known pixels, and its completions. A completion is an exact
sample of the model's conditional distribution, because the known pixels come first in raster order. Needs the `train`
extra.

    python examples/completion.py --out completed.png
"""

import argparse
from pathlib import Path

import torch

import pixelrnn_ext as px
from pixelrnn_ext.training import data, grid


def main(arguments: list[str] | None = None) -> torch.Tensor:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", choices=px.models.PRETRAINED, default="mnist5k-diagonal")
    parser.add_argument("--count", type=int, default=10, help="images (%(default)s)")
    parser.add_argument("--completions", type=int, default=4, help="of each (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)

    test = data.load("mnist5k").splits["test"].images
    originals = test[torch.linspace(0, len(test) - 1, options.count).long()]  # the split is sorted by class
    height, width = originals.shape[2:]
    known = torch.ones(1, 1, height, width, dtype=torch.bool)
    known[:, :, height // 2 :] = False

    model = px.pretrained(options.model)
    drawn = model.sample(
        options.completions * options.count,
        (1, height, width),
        given=originals.repeat(options.completions, 1, 1, 1),
        known=known,
        generator=torch.Generator().manual_seed(options.seed),
    )
    shown = torch.where(known, originals, 0.5)
    grid.write_grid(options.out, torch.cat([originals.float(), shown, drawn.float()]), columns=options.count)
    print(f"{len(drawn)} completions: {options.out}")

    with torch.no_grad():  # P(lower | upper) = P(image) / P(upper)
        upper, whole = (model.log_prob(images).double() for images in (originals[:, :, : height // 2], originals))
    print(f"nats of the lower halves that were hidden, given the upper ones: {(upper - whole).mean():.1f}")
    return drawn


if __name__ == "__main__":
    main()
