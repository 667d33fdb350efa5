"""Helps tests that run on a GPU, and skips them if there is no GPU."""

import os
from contextlib import contextmanager

import pytest
import torch

from pixelrnn_ext.operators import library

# torch's deterministic mode requires the environment variable CUBLAS_WORKSPACE_CONFIG. The variable must be set before
# the first call of cuBLAS.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def why_no_gpu(kernels=True):
    """Returns why tests cannot run on a GPU, or None if they can."""
    if not torch.cuda.is_available():
        return f"expected a GPU with CUDA, got none that torch {torch.__version__} can use"
    return library.why_no_cuda() if kernels else None


def skip_without_a_gpu(kernels=True):
    if reason := why_no_gpu(kernels):
        pytest.skip(f"nothing is tested on a GPU: {reason}", allow_module_level=True)


REDUCED = "allow_bf16_reduced_precision_reduction", "allow_fp16_reduced_precision_reduction"


@contextmanager
def strict_products():
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    strict = [(settings, "fp32_precision", "ieee") for settings in (matmul, cudnn.rnn, cudnn.conv)]
    strict += [(matmul, name, False) for name in REDUCED]
    before = [(settings, name, getattr(settings, name)) for settings, name, _ in strict]
    try:
        for setting in strict:
            setattr(*setting)
        yield
    finally:
        for setting in before:
            setattr(*setting)


def capture(step, warm_ups=3):
    """Captures a call of the function ``step`` in a CUDA graph.

    Returns the graph, and the result of the captured call. Each replay of the graph writes to the result's tensors.
    """
    stream, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(warm_ups):
            step()
    torch.cuda.synchronize()
    with torch.cuda.graph(graph, stream=stream):
        captured = step()
    return graph, captured


@pytest.fixture(autouse=True)
def _strict_products():
    """Turns off reduced precision in matrix products, since the tests' error bounds assume full precision."""
    with strict_products():
        yield
