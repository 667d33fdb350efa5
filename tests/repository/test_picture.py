import runpy

import pytest
import torch

import pixelrnn_ext as px
from helpers.root import ROOT

DOCS = ROOT / "docs"
PICTURE = runpy.run_path(str(DOCS / "picture.py"))
HEIGHT, WIDTH = PICTURE["HEIGHT"], PICTURE["WIDTH"]


@pytest.mark.parametrize("name", PICTURE["PICTURES"])
def test_a_picture_is_up_to_date(name):
    assert (DOCS / name).read_text() == PICTURE["PICTURES"][name](), "python docs/picture.py draws it anew"


def dependencies(layer, pixel):
    x = torch.randn(1, 1, HEIGHT, WIDTH, dtype=torch.float64, requires_grad=True)
    row, column = pixel
    (gradient,) = torch.autograd.grad(layer(x)[0, :, row, column].sum(), x)
    return {tuple(cell) for cell in gradient[0, 0].nonzero().tolist()}


@pytest.mark.parametrize("pixel", [PICTURE["PIXEL"], (0, 0), (HEIGHT - 1, WIDTH - 1), (3, 0)])
def test_it_shows_what_a_layer_sees(pixel):
    torch.manual_seed(0)
    row, diagonal = (layer(1, 4, dtype=torch.float64) for layer in (px.RowLSTM, px.DiagonalBiLSTM))
    assert dependencies(row, pixel) == PICTURE["row_lstm_sees"](pixel)
    assert dependencies(diagonal, pixel) == PICTURE["left_to_right_sees"](pixel) | PICTURE["right_to_left_sees"](pixel)


def test_the_wavefront_is_that_of_the_kernels(core):
    geometry = core.Geometry.diagonal(HEIGHT, WIDTH, False)
    steps = {
        geometry.pixel(line, cell): line
        for line in range(geometry.lines)
        for cell in range(geometry.cells)
        if geometry.is_active(line, cell)
    }
    assert steps == {row * WIDTH + column: PICTURE["step_of"]((row, column)) for row, column in PICTURE["cells"]()}
    assert geometry.lines == HEIGHT + WIDTH - 1, "the picture says so"
