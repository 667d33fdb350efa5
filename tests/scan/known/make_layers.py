"""Writes layers.safetensors beside this file: layers, an input and their outputs, as the package on the path has them.

It ran once, with commit 58751dc without compiled kernels: git archive 58751dc pixelrnn_ext | tar -x -C OLD, then
PYTHONPATH=OLD python tests/scan/known/make_layers.py. The layers must load it, and compute the same, forever.
"""

from pathlib import Path

import torch
from safetensors.torch import save_file

import pixelrnn_ext as px

FILE = Path(__file__).with_name("layers.safetensors")
OPTIONS = {"dtype": torch.float64, "initial_state": "learned"}
LAYERS = {
    "row": lambda: px.RowLSTM(2, 3, 3, mask_type="A", **OPTIONS),
    "row-5-without-bias": lambda: px.RowLSTM(2, 3, 5, bias=False, dtype=torch.float64),
    "diagonal": lambda: px.DiagonalLSTM(2, 3, **OPTIONS),
    "diagonal-reverse": lambda: px.DiagonalLSTM(2, 3, reverse=True, **OPTIONS),
    "bilstm": lambda: px.DiagonalBiLSTM(2, 3, image_channels=2, **OPTIONS),
    "lstm2d-pixelrnn": lambda: px.LSTM2d(2, 3, cell="pixelrnn", directions=("br",), **OPTIONS),
    "lstm2d-stable": lambda: px.LSTM2d(2, 3, merge="mean", **OPTIONS),
    "lstm2d-graves": lambda: px.LSTM2d(2, 3, cell="graves", peepholes=True, directions=2, **OPTIONS),
    "lstm2d-halved": lambda: px.LSTM2d(2, 3, cell="halved", peepholes=True, merge=None, **OPTIONS),
    "lstm2d-leaky": lambda: px.LSTM2d(2, 3, cell="leaky", directions=("tr", "bl"), merge="sum", **OPTIONS),
    "lstm2d-max": lambda: px.LSTM2d(2, 3, cell="max", bias=False, dtype=torch.float64),
}


def main():
    torch.manual_seed(0)
    tensors = {"input": torch.randn(2, 2, 3, 4, dtype=torch.float64)}
    for name, make in LAYERS.items():
        layer = make()
        for parameter in layer.parameters():
            torch.nn.init.uniform_(parameter, -1, 1)
        tensors |= {f"{name}/{key}": value for key, value in layer.state_dict().items()}
        tensors[f"{name}/output"] = layer(tensors["input"]).detach().contiguous()
    save_file(tensors, FILE, {"commit": "58751dc"})


if __name__ == "__main__":
    main()
