import pytest

from helpers.scans import EVERY_BACKEND, use_backend


@pytest.fixture(params=EVERY_BACKEND)
def backend(request, monkeypatch):
    return use_backend(request.param, monkeypatch)
