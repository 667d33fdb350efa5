import pytest
import torch


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch):
    """Hides a GPU of this machine, which a benchmark without --device would take."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
