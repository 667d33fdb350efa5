"""Tests that layers saved by an earlier version still compute the same outputs.

Commit 58751dc computed golden/layers.safetensors without compiled kernels. The file never changes.
"""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import pixelrnn_ext as px
from helpers.checks import assert_close
from helpers.scans import each_backend

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


@each_backend
@pytest.mark.parametrize("name", LAYERS)
def test_a_known_layer_computes_what_it_did(name, backend):
    tensors, layer = load_file(Path(__file__).parent / "golden" / "layers.safetensors"), LAYERS[name]()
    layer.backend = backend
    state = {key.removeprefix(f"{name}/"): t for key, t in tensors.items() if key.startswith(f"{name}/")}
    expected = state.pop("output")
    layer.load_state_dict(state)
    with torch.no_grad():
        assert_close("output", expected, layer(tensors["input"]), 1e-14)
