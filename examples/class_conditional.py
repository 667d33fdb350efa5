"""Trains a class-conditional Row LSTM on scikit-learn's 8x8 digits, draws digits with it, and classifies digits by it.

It draws eight images of each class. It classifies the test images by Bayes' rule: an image belongs to the class under
which it is most probable. Needs the `train` extra. Takes about a minute on two cores.

    python examples/class_conditional.py --out digits.png
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor

import pixelrnn_ext as px
from pixelrnn_ext.training import data, grid


def train(model: px.PixelRNN, digits: data.DataSet, steps: int, seed: int) -> None:
    split, generator = digits.splits["train"], torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(model.parameters(), 5e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for step in range(steps):
        index = torch.randint(len(split), (32,), generator=generator)
        # The condition has a one-hot vector for each of the 32 images. All pixels of an image share its vector, so the
        # condition's shape is (32, 10, 1, 1).
        condition = data.conditions(split.labels[index], len(digits.classes))
        loss = model.bits_per_dim(split.images[index], condition)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if (step + 1) % 100 == 0:
            print(f"step {step + 1}: {loss.item():.3f} bits/dim of the batch")


@torch.no_grad()
def classify(model: px.PixelRNN, images: Tensor, classes: int) -> Tensor:
    labels = torch.arange(classes)
    return torch.stack([model.log_prob(images, data.conditions(label[None], classes)) for label in labels]).argmax(0)


def main(arguments: list[str] | None = None) -> float:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the picture: a row of samples for each class")
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--hidden-channels", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    digits = data.load("digits")
    classes = len(digits.classes)
    torch.manual_seed(options.seed)
    model = px.PixelRNN(
        "row",
        image_channels=1,
        levels=digits.levels,
        hidden_channels=options.hidden_channels,
        num_layers=3,
        head_channels=32,
        condition_channels=classes,
    )
    train(model, digits, options.steps, options.seed)

    model.eval()
    test = digits.splits["test"]
    right = (classify(model, test.images, classes) == test.labels).float().mean().item()
    print(f"{right:.1%} of {len(test)} test images are most probable under their own class")
    wanted = torch.arange(classes).repeat_interleave(8)
    generator = torch.Generator().manual_seed(options.seed)
    drawn = model.sample(len(wanted), digits.shape, condition=data.conditions(wanted, classes), generator=generator)
    grid.write_grid(options.out, drawn / (digits.levels - 1), columns=8)
    print(f"samples of each class, a row each: {options.out}")
    return right


if __name__ == "__main__":
    main()
