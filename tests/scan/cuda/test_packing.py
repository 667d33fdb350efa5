"""Tests that packed parameters, and their gradients, are those of layers that pack their own. Needs no GPU."""

import pytest
import torch

import pixelrnn_ext as px
from pixelrnn_ext.masks import causal_mask
from pixelrnn_ext.operators.scan.packing import Masking, Packer, operands

LAYERS = {
    "diagonal": lambda colours: px.DiagonalBiLSTM(6, 3, image_channels=colours, initial_state="learned"),
    "zero states": lambda colours: px.DiagonalBiLSTM(6, 3, image_channels=colours),
    "row": lambda colours: px.RowLSTM(6, 3, 5, image_channels=colours, initial_state="learned"),
    "no bias": lambda colours: px.RowLSTM(6, 3, image_channels=colours, bias=False),
}


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("colours", [1, 3])
@pytest.mark.parametrize("kind", LAYERS)
def test_packs_the_operands_of_every_layer(kind, colours, dtype):
    torch.manual_seed(0)
    layers = [LAYERS[kind](colours).double() for _ in range(3)]
    masking = Masking("B", colours, 4)
    directions = [layer.directions for layer in layers]
    packer = Packer(directions, [masking] * 3)
    parameters = [p for layer in layers for p in layer.parameters()]
    got = [t for packed in packer(directions, dtype) for t in packed]
    want = [t for layer in directions for t in operands([d.to(dtype) for d in layer], masking)]
    assert [t is None for t in got] == [t is None for t in want]
    got, want = ([t for t in ts if t is not None] for ts in (got, want))
    assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True))
    cotangents = [torch.randn_like(t) for t in want]
    for a, b in zip(*(torch.autograd.grad(ts, parameters, cotangents) for ts in (got, want)), strict=True):
        assert torch.equal(a, b) and a.stride() == b.stride()


def test_a_masked_weight_that_is_nan_is_zero():
    layer = px.RowLSTM(6, 3, image_channels=3)
    mask = causal_mask("B", 12, 6, (1, 3), image_channels=3, gates=4)
    with torch.no_grad():
        layer.weight_ih.masked_fill_(mask == 0, torch.nan)
    (packed,) = Packer([layer.directions], [Masking("B", 3, 4)])([layer.directions], torch.float32)
    assert packed.weight_ih.isfinite().all()


def test_second_derivatives_of_packed_parameters():
    layer = px.DiagonalBiLSTM(2, 2).double()
    directions = [layer.directions]
    packer = Packer(directions, [Masking("B", 1, 4)])
    assert torch.autograd.gradgradcheck(
        lambda w: packer([_with(directions[0], w)], w.dtype)[0].weight_hh.square(), layer.weight_hh
    )


def _with(directions, weight_hh):
    return [directions[0]._replace(weight_hh=weight_hh), *directions[1:]]
