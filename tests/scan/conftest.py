import pytest

from helpers.scans import BACKENDS
from pixelrnn_ext.operators.scan import run


@pytest.fixture(params=[*BACKENDS, "without kernels"])
def backend(request, monkeypatch):
    """For a layer: the reference, the kernels, or the decomposition that runs where there are no kernels."""
    if request.param != "without kernels":
        return request.param
    choose = run.backends.choose
    monkeypatch.setattr(run.backends, "choose", lambda backend, device: choose(backend, device) and None)
    return "auto"
