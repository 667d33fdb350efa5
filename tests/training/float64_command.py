"""The command line in float64: whatever the number of processes, sums differ by no more than rounding."""

import sys

import torch

from pixelrnn_ext import cli

if __name__ == "__main__":
    torch.set_default_dtype(torch.float64)
    sys.exit(cli.main())
