"""Asserts the types that mypy finds in a program that uses this package. No test runs this file."""

import torch
from torch import Tensor, nn
from typing_extensions import assert_type

import pixelrnn_ext as px
from pixelrnn_ext.training.checkpoint import load_model

x = torch.zeros(2, 8, 5, 6)

row = px.RowLSTM(8, 4)
assert_type(row(x), Tensor)
assert_type(row.weight_hh, nn.Parameter)
assert_type(row.bias, nn.Parameter | None)
assert_type(row.kernel_size, int)

both = px.DiagonalBiLSTM(8, 4)
assert_type(both(x, gate_bias=x), Tensor)
assert_type(both.weight_hh_reverse, nn.Parameter)

corners = px.LSTM2d(8, 4, directions=("tl", "br"), merge=None)
assert_type(corners(x, sizes=torch.tensor([[5, 6], [2, 3]])), Tensor)
assert_type(corners.directions, tuple[str, ...])

convolution = px.MaskedConv2d(8, 8, (3, 5), "A")
assert_type(convolution(x), Tensor)
assert_type(convolution.weight, nn.Parameter)
assert_type(convolution.kernel_size, tuple[int, int])

model = px.PixelRNN("row", image_channels=1, levels=2, hidden_channels=4, num_layers=1)
assert_type(model(x), Tensor)
assert_type(model.log_prob(x), Tensor)
assert_type(model.sample(1, (1, 5, 6)), Tensor)
assert_type(model.first, px.MaskedConv2d)
assert_type(px.pretrained("mnist5k-row"), px.models.AutoregressiveModel)
assert_type(load_model("runs/digits")[0], px.models.AutoregressiveModel)

assert_type(px.functional.row_lstm(x, row.weight_ih, row.weight_hh), Tensor)
assert_type(px.functional.lstm2d(x, [px.functional.Direction2d(x, x)]), Tensor)
assert_type(px.masks.causal_mask("B", 8, 8, 3, device="cpu"), Tensor)
assert_type(px.resident_plan(5, 6, 4).forward, str)
