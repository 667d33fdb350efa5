"""Conditions and settings of the tests that need a GPU."""

import os
from contextlib import contextmanager

import pytest
import torch

from pixelrnn_ext.operators import library

# cuBLAS reads this at its first call. The deterministic results that conftest.py asks for need it.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def why_no_gpu(kernels=True):
    """Returns why tests cannot run on a GPU, or None. ``kernels``: whether they need the compiled kernels."""
    if not torch.cuda.is_available():
        return f"expected a GPU with CUDA, got none that torch {torch.__version__} can use"
    return library.why_no_cuda() if kernels else None


def skip_without_a_gpu(kernels=True):
    if reason := why_no_gpu(kernels):
        pytest.skip(f"nothing is tested on a GPU: {reason}", allow_module_level=True)


REDUCED = "allow_bf16_reduced_precision_reduction", "allow_fp16_reduced_precision_reduction"


@contextmanager
def strict_products():
    """Disables TF32, and sums of half-precision products in half precision, as the tests' bounds assume."""
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
    """Applies :func:`strict_products` to every test of a module that imports this fixture."""
    with strict_products():
        yield
