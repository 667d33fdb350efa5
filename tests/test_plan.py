"""resident_plan: the predicate of the CUDA kernels, which no GPU is needed for."""

import pytest
import torch

import pixelrnn_ext as px
from pixelrnn_ext import _library

built = pytest.mark.skipif(_library.why_no_cuda() is not None, reason=f"{_library.why_no_cuda()}")
H100, A100, TURING = (9, 0), (8, 0), (7, 5)


@pytest.mark.skipif(_library.why_no_cuda() is None, reason="the CUDA kernels are built")
def test_without_the_kernels_it_says_so():
    with pytest.raises(RuntimeError, match="resident_plan needs the CUDA kernels: "):
        px.resident_plan(28, 28, 16, capability=H100)


@built
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("size", "hidden", "images"), [(28, 16, 16), (28, 64, 16), (32, 128, 16), (32, 128, 1), (64, 128, 64)])
def test_the_papers_sizes_are_resident_on_an_h100(size, hidden, images, dtype):
    for layer in (dict(diagonal=True, directions=2), dict(diagonal=False, taps=3)):
        for plan in px.resident_plan(size, size, hidden, images=images, dtype=dtype, capability=H100, **layer):
            assert "step path" not in plan


@built
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        pytest.param(dict(capability=TURING), "expected a GPU of compute capability 8.0 or later, got 7.5", id="card"),
        pytest.param(dict(capability=H100, dtype=torch.float64), "expected float32, float16 or bfloat16, got float64", id="dtype"),
        pytest.param(dict(capability=H100, diagonal=False, taps=5), "expected at most 3 taps, got 5", id="taps"),
        pytest.param(dict(capability=A100), "without clusters of thread blocks", id="clusters"),
    ],
)
def test_it_says_why_not(options, reason):
    for plan in px.resident_plan(32, 32, 128, **options):
        assert plan.startswith("step path: ") and reason in plan


@built
def test_a_cluster_lies_in_one_gpc():
    """32 clusters of 8 blocks that fill a multiprocessor are two waves, of 4 blocks they are one."""
    for images, blocks in ((8, 8), (16, 4)):
        plan = px.resident_plan(64, 64, 128, images=images, directions=2, capability=H100)
        assert f": {blocks} blocks an image" in plan.forward


@built
def test_errors():
    with pytest.raises(TypeError, match="expected dtype to be float32, float64, float16 or bfloat16, got torch.int32"):
        px.resident_plan(32, 32, 128, dtype=torch.int32, capability=H100)
