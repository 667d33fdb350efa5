"""What the tests on a GPU begin with."""

import os
from contextlib import contextmanager

import pytest
import torch

from pixelrnn_ext.operators import library

# cuBLAS wants it said before its first call, since conftest.py asks torch for deterministic results.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def skip_without_a_gpu(kernels=True):
    """Skips the module, with the reason; ``kernels``: the compiled ones are needed too."""
    reason = None
    if not torch.cuda.is_available():
        reason = f"expected a GPU with CUDA, got none that torch {torch.__version__} can use"
    elif kernels:
        reason = library.why_no_cuda()
    if reason:
        pytest.skip(f"nothing is tested on a GPU: {reason}", allow_module_level=True)


REDUCED = "allow_bf16_reduced_precision_reduction", "allow_fp16_reduced_precision_reduction"


@contextmanager
def strict_products():
    """float32 products are no tf32, and cuBLAS sums the products of halves in float32, as the tests' bounds suppose."""
    matmul = torch.backends.cuda.matmul
    before = {name: getattr(matmul, name) for name in ("allow_tf32", *REDUCED)}
    for name in before:
        setattr(matmul, name, False)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(matmul, name, value)


@pytest.fixture(autouse=True)
def _strict_products():
    """Applies to every test of a module that imports this."""
    with strict_products():
        yield


def use(format):
    """float32 products in tf32, or strictly."""
    torch.backends.cuda.matmul.allow_tf32 = format == "tf32"


@contextmanager
def skips_without_a_kernel(backend):
    """Skips the test, with the reason, where this GPU or size has no resident kernel and that is what was asked for."""
    try:
        yield
    except RuntimeError as error:
        if backend == "resident" and "cannot run" in str(error):
            pytest.skip(str(error).splitlines()[0].rpartition("cannot run: ")[2])
        raise
