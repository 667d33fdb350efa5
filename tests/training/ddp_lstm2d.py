"""A few steps of an LSTM2d on unlike images, shared by the processes that torchrun started; saves what it learned."""

import sys

import torch
from torch.nn.parallel import DistributedDataParallel

from helpers.scans import make_layer, ragged_sizes
from pixelrnn_ext.training.distributed import world

IMAGES, HEIGHT, WIDTH, STEPS = 4, 5, 6, 3


def train(here):
    """{name: parameter} after some steps on one batch, of which each process has its part."""
    torch.manual_seed(0)
    layer = make_layer("stable")
    x, sizes = torch.randn(IMAGES, 2, HEIGHT, WIDTH, dtype=torch.float64), ragged_sizes(IMAGES, HEIGHT, WIDTH)
    wrapped = DistributedDataParallel(layer) if here.size > 1 else layer
    optimiser = torch.optim.SGD(layer.parameters(), 0.5)
    for _ in range(STEPS):
        optimiser.zero_grad()
        wrapped(x[here.rank :: here.size], sizes[here.rank :: here.size]).square().mean().backward()
        optimiser.step()
    return layer.state_dict()


if __name__ == "__main__":
    with world("cpu") as here:
        torch.save(train(here), f"{sys.argv[1]}/{here.rank}.pt")
