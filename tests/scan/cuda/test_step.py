"""Tests the step path, which computes each line of a scan by a matrix product and a small CUDA kernel."""

import pytest
import torch

from helpers.checks import assert_close
from helpers.scans import LAYOUTS, LSTM2D, OPS, Problem
from kernel_costs.kernel_list import FORMATS

from .gpus import all_formats, on_resident_gpus
from .kernel_paths import MAPS

# (height, width) of five images, one of which is empty.
RAGGED = [(5, 7), (1, 6), (4, 1), (0, 3), (3, 4)]


@pytest.mark.parametrize("sizes", [None, RAGGED], ids=["full", "ragged"])
@pytest.mark.parametrize("layout", ["tr", "bl-sum", "bilstm", "four"])
@pytest.mark.parametrize("layer", ["row1", "row3", "row5", *LSTM2D])
def test_step_path(layer, layout, sizes, gpu):
    corners, merge = LAYOUTS[layout]
    gpu.compare(Problem("fp64", layer, 5, (5, 5, 7), corners=corners, merge=merge, x=True, sizes=sizes), "step")


@all_formats
@pytest.mark.parametrize("layer", ["row3", "bilstm", "pixelrnn", "stable", "graves-peepholes", "leaky"])
def test_step_path_in_other_formats(layer, format, gpu):
    gpu.compare(Problem(format, layer, 6, (5, 5, 7), sizes=RAGGED), "step")


@pytest.mark.parametrize("maps", [(2, 1, 1), (2, 1, 9), (1, 9, 1)], ids=str)
@pytest.mark.parametrize("layer", ["pixelrnn", "stable", "max"])
def test_step_path_of_maps_of_a_row_or_a_column(layer, maps, gpu):
    gpu.compare(Problem("fp32", layer, 3, maps, corners=(0, 1, 2, 3), states=False), "step")


@pytest.mark.parametrize("geometry", ["bilstm", "diagonal-reverse", "row3", "row1", "row5"])
@pytest.mark.parametrize("hidden", [1, 7, 20])
@pytest.mark.parametrize("format", ["fp64", *FORMATS])
def test_step_path_of_hidden_sizes(format, hidden, geometry, gpu):
    for images, height, width in MAPS:
        # With one hidden unit, some gradients are a single sum, whose terms may cancel.
        maps = images if hidden > 1 else 4 * images, height, width
        gpu.compare(Problem(format, geometry, hidden, maps, input=False, states=hidden > 1), "step")


@all_formats
@on_resident_gpus
def test_step_path_and_resident_path_continue_each_other(format, gpu):
    p = Problem(format, "bilstm", 16, (2, 5, 9), merge="none", input=False)
    expected = p.run(OPS, torch.float64)
    for forward, backward in (("step", "resident"), ("resident", "step")):
        _, c, gates = gpu.ops.recurrence(*p.scan(path=forward, device=gpu.device))
        dh, s = p.cotangent.to(gpu.device), p.scan(path=backward, device=gpu.device)
        dx, *_ = gpu.ops.recurrence_backward(dh, c, gates, *s)
        assert_close("dx", expected["dx"], dx.cpu(), gpu.bound("dx", format))
