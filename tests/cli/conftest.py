"""Fixtures of the commands' tests."""

import pytest

from helpers.tiny import write_cheap_curve

from .command_line import train


@pytest.fixture(autouse=True)
def _cheap_curve(monkeypatch):
    """The fixture ``trained`` alone has matplotlib draw its curve."""
    monkeypatch.setattr("pixelrnn_ext.training.gallery.write_learning_curve", write_cheap_curve)


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """The folder of a training and what it printed."""
    out = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        lines = []
        patch.setattr("tqdm.tqdm.write", lines.append)
        assert train(out, "--conditional", "--samples", "4") == 0
    return out, lines
