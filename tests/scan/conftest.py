import pytest

from helpers.scans import EVERY_BACKEND, use_backend


@pytest.fixture(params=EVERY_BACKEND)
def backend(request, monkeypatch):
    """The backend of a layer, each of EVERY_BACKEND."""
    return use_backend(request.param, monkeypatch)
