"""Tests the resident kernels, which compute a scan in one launch, against the CPU operators in float64."""

import re

import pytest
import torch

from helpers.scans import OPS, Problem

from .gpus import MAX_BLOCKS, all_formats, on_gpus, on_gpus_with_paths, on_resident_gpus
from .kernel_paths import MAPS

ALL = (0, 1, 2, 3)
NO_KERNEL = "step path: (faster|no kernel is compiled|the weights and lines .* need) "


@pytest.mark.parametrize("geometry", ["bilstm", "row1", "row3"])
@pytest.mark.parametrize("hidden", [16, 24, 32, 48, 64, 96, 128, 192, 256], ids="h{}".format)
@all_formats
@on_resident_gpus
def test_hidden_sizes_with_the_plan_of_a_gpu(format, hidden, geometry, gpu):
    """If no resident kernel can compute a hidden size, the path "auto" launches a kernel for each line."""
    problem = Problem(format, geometry, hidden, (1, 5, 10), input=False)
    for path in ("auto", "resident"):
        plans = gpu.plan(problem, path)
        for plan in plans:
            assert re.match(f"(for|back)ward_{format}|{NO_KERNEL}", plan), plan
        if path == "auto" or (gpu.name == "real" and not any(plan.startswith("step path") for plan in plans)):
            gpu.compare(problem, path)


@pytest.mark.parametrize("geometry", ["bilstm", "diagonal-reverse", "row1", "row3"])
@pytest.mark.parametrize("size", MAPS, ids="B{0[0]}-{0[1]}x{0[2]}".format)
@all_formats
@on_resident_gpus
def test_maps(format, size, geometry, gpu):
    for hidden, path in ((16, "resident"), (40, "resident"), (16, "resident:s_4_512:1")):
        gpu.compare(Problem(format, geometry, hidden, size, input=False, states=hidden == 16), path)


@pytest.mark.parametrize("size", [(1, 1, 1), (1, 1, 9), (1, 9, 1), (1, 4, 21), (1, 34, 3)], ids="{0[1]}x{0[2]}".format)
@all_formats
@on_resident_gpus
def test_maps_of_five_gates(format, size, gpu):
    for cell, hidden, path in (("stable", 24, "resident"), ("max", 16, "resident:s_4_512:1")):
        gpu.compare(problem5(format, cell, (3,), hidden, size, states=hidden == 16), path)


# One emulated architecture suffices for large maps, since test_kernels.py runs the kernels on all.
@pytest.mark.parametrize("format", ["bf16", "tf32"])
@on_gpus(where=lambda gpu: MAX_BLOCKS[gpu] == 8)
def test_the_papers_sizes(format, gpu):
    for size, hidden in ((28, 16), (32, 128)):
        gpu.compare(Problem(format, "bilstm", hidden, (1, size, size), input=False), "resident")


def problem5(format, cell, corners, hidden, maps, **options):
    """Returns a scan whose results hardly depend on rounding.

    Biases keep the state of "graves" small, and the forget gates of "max" far apart.
    """
    problem = Problem(format, cell, hidden, maps, corners=corners, **options)
    bias = problem.inputs["bias"]
    if cell == "graves":
        bias[..., [1, 4]] -= 2
    elif cell == "max":
        bias[..., 4] += 8 * (-1) ** torch.arange(hidden)
    return problem


@pytest.mark.parametrize("cell", ["pixelrnn", "stable", "graves", "halved", "leaky", "max"])
@all_formats
@on_gpus_with_paths("resident::1", "resident::2")
def test_every_formula(format, cell, path, gpu):
    gpu.compare(problem5(format, cell, ALL, 16, (1, 9, 10)), path)


# (height, width) of eight images. Some sizes are larger than the map, zero, or negative.
RAGGED = [(99, 99), (0, 5), (9, 0), (1, 1), (1, 5), (11, 1), (9, 4), (-1, 3)]


@all_formats
@on_gpus_with_paths("resident", "resident:s_4_512", "resident::2")
def test_images_of_their_own_sizes(format, path, gpu):
    sizes = [(min(h, 12), min(w, 5)) for h, w in RAGGED]
    problem = problem5(format, "graves", ALL, 16, (len(RAGGED), 12, 5), sizes=sizes)
    expected = problem.run(OPS, torch.float64)
    problem.sizes = torch.tensor(RAGGED)
    gpu.compare(problem, path, expected)


@on_resident_gpus
def test_an_image_of_its_own_size_has_the_bits_of_one_alone(gpu):
    """The test gives both scans the same pre-activations x, and no input from which the scans would compute x.

    A scan would compute x by a matrix product, whose last bits depend on the number of pixels.
    """
    p = Problem("bf16", "stable", 16, (2, 12, 5), corners=(0, 3), input=False, sizes=[(12, 5), (9, 4)])
    batch = gpu.run(p, "resident")
    alone = Problem("bf16", "stable", 16, (1, 9, 4), corners=(0, 3), input=False)
    alone.inputs = p.inputs | {"x": p.inputs["x"][:, 1:, :9, :4].contiguous()}
    alone.cotangent = p.cotangent[1:, :9, :4].contiguous()
    got = gpu.run(alone, "resident")
    assert torch.equal(got["h"], batch["h"][1:, :9, :4])
    assert torch.equal(got["dx"], batch["dx"][:, 1:, :9, :4])


@on_resident_gpus
def test_the_state_is_clipped(gpu):
    p = Problem("fp32", "max", 8, (1, 3, 4))
    p.inputs["c0"] = torch.full_like(p.inputs["c0"], 500)
    gpu.compare(p, "resident")
