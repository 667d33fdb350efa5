"""Half a minute that tells whether the kernels are right on this GPU: every one once, forward and backward, against
float64, before anything else is tried. benchmarks/gpu_day runs this file first.
"""

import pytest
import torch

import pixelrnn_ext as px
from helpers.checks import assert_close
from helpers.gpu import _strict_products, skip_without_a_gpu  # noqa: F401
from helpers.masked_conv_interpreted import expected as masked_convolution
from helpers.scans import DTYPES, OUTPUTS, REFERENCE, Problem
from pixelrnn_ext.masks import Mask

from ..kernel_paths import (
    VARIANT_5_IDS,
    VARIANT_IDS,
    VARIANTS,
    VARIANTS_5,
    check_names,
    compare_extremes,
    same_in_every_launch,
    variant,
    variant5,
)
from .bounds import GRADIENT_RATIO, RATIO

skip_without_a_gpu()
pytestmark = pytest.mark.cuda

THIS_GPU = "sm_0"


def check(problem, path):
    expected = problem.run(REFERENCE, torch.float64)  # on the CPU
    got = problem.run(REFERENCE, problem.dtype, path, "cuda")
    for name, tensor in got.items():
        bounds = RATIO if name in OUTPUTS else GRADIENT_RATIO
        assert_close(name, expected[name], tensor.cpu(), bounds[problem.format])


def skip_without(blocks):
    capability = torch.cuda.get_device_capability()
    if capability < (8, 0) or (blocks > 1 and capability < (9, 0)):
        pytest.skip(f"compute capability {capability[0]}.{capability[1]} has no such kernel")


@pytest.mark.parametrize(("format", "suffix", "blocks"), VARIANTS, ids=VARIANT_IDS)
def test_every_kernel(format, suffix, blocks):
    skip_without(blocks)
    problem, path, plans = variant(REFERENCE, THIS_GPU, format, suffix, blocks, "bilstm")
    if problem is not None:
        check_names(format, suffix, blocks, plans)
        check(problem, path)


@pytest.mark.parametrize(("format", "suffix", "blocks"), VARIANTS_5, ids=VARIANT_5_IDS)
def test_every_kernel_of_five_gates(format, suffix, blocks):
    skip_without(blocks)
    problem, path, _ = variant5(format, suffix, blocks, 2, sizes=[(12, 5), (5, 3)])
    check(problem, path)


@pytest.mark.parametrize("geometry", ["row3", "diagonal-reverse"])
@pytest.mark.parametrize("format", DTYPES)
@pytest.mark.parametrize("path", ["step", "auto"])
def test_other_geometries(path, format, geometry):
    check(Problem(format, geometry, 16, (2, 5, 9)), path)


@pytest.mark.parametrize("format", DTYPES)
@pytest.mark.parametrize("family", ["row3", "pixelrnn", "stable"])
def test_the_step_path_of_images_of_their_own_sizes(family, format):
    check(Problem(format, family, 16, (2, 5, 9), corners=(0, 3), sizes=[(5, 9), (3, 4)]), "step")


needs_clusters = pytest.mark.skipif(torch.cuda.get_device_capability() < (9, 0), reason="the GPU has no clusters")


@pytest.mark.parametrize("path", ["resident", pytest.param("resident::2", marks=needs_clusters)])
@pytest.mark.parametrize("format", ["fp32", "tf32", "bf16", "fp16"])
def test_nan_stays_where_it_belongs_and_large_values_saturate(format, path):
    """The special function unit's extremes, which the emulator takes from the documentation."""
    compare_extremes(REFERENCE, "cuda", format, path, RATIO[format])


@needs_clusters
@pytest.mark.parametrize("blocks", [2, 4, 8])
def test_blocks_may_leave_before_their_peers(blocks):
    assert same_in_every_launch(REFERENCE, "cuda", blocks, launches=200)


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("hidden", [16, 64, 128])
@pytest.mark.skipif(torch.cuda.get_device_capability() < (9, 0), reason="the sizes need clusters")
def test_the_gpu_has_room_for_the_layouts_of_the_papers_sizes(hidden, backward):
    """Its answers, which the plan asks for, are not those of a card that was never asked."""
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        plan = px.resident_plan(32, 32, hidden, images=16, directions=2, dtype=dtype)[backward]
        assert plan.startswith("step path: faster ") or "step path" not in plan


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_masked_convolution(dtype):
    mask = Mask("B", 3, 1)
    x, weight, bias, cotangent = (torch.randn(s).to(dtype) for s in ((2, 6, 7, 9), (12, 6, 3, 3), (12,), (2, 12, 7, 9)))
    want, _ = masked_convolution(x, weight, bias, mask, False, cotangent)
    leaves = [t.cuda().requires_grad_() for t in (x, weight, bias)]
    y = px.functional.masked_conv2d(*leaves, mask_type="B", image_channels=3, backend="native")
    got = y.detach(), *torch.autograd.grad(y, leaves, cotangent.cuda())
    for (name, expected), tensor in zip(want.items(), got):
        assert_close(name, expected, tensor.cpu(), 1e-6 if dtype == torch.float32 else 5e-3)
