"""What the tests on a GPU begin with."""

import os
from contextlib import contextmanager

import pytest
import torch

from pixelrnn_ext.operators import library

# cuBLAS wants it said before its first call, since conftest.py asks torch for deterministic results.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def why_no_gpu(kernels=True):
    """Returns None, or the reason why nothing runs on a GPU; ``kernels``: the compiled ones are needed too."""
    if not torch.cuda.is_available():
        return f"expected a GPU with CUDA, got none that torch {torch.__version__} can use"
    return library.why_no_cuda() if kernels else None


def skip_without_a_gpu(kernels=True):
    """Skips the module, with the reason."""
    if reason := why_no_gpu(kernels):
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
