from functools import partial

import pytest


@pytest.fixture
def use_gpu(monkeypatch):
    """Returns use_emulated_gpu() for this test. It replaces the CUDA operators, and returns the emulator's controls."""
    from helpers.emulated.sampling import use_emulated_gpu  # its import needs a CUDA compiler

    return partial(use_emulated_gpu, monkeypatch)
