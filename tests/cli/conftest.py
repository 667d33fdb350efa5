import itertools
import shutil
import signal

import pytest

from helpers.tiny import write_cheap_curve

from .command_line import train


@pytest.fixture(autouse=True)
def _cheap_curve(monkeypatch):
    """Draws no learning curves by matplotlib, to save time. The fixture ``trained`` draws one."""
    monkeypatch.setattr("pixelrnn_ext.training.gallery.write_learning_curve", write_cheap_curve)


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """The folder of a training, and the lines that it printed."""
    out = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        lines = []
        patch.setattr("tqdm.tqdm.write", lines.append)
        assert train(out, "--conditional", "--samples", "4") == 0
    return out, lines


@pytest.fixture
def copied(trained, tmp_path):
    return shutil.copytree(trained[0], tmp_path / "copied")


@pytest.fixture
def nothing_is_loaded(monkeypatch):
    """Makes loading a data set fail, so that a test sees only errors that come before."""
    monkeypatch.setattr("pixelrnn_ext.training.data.load", None)
    monkeypatch.setattr("pixelrnn_ext.training.stored_data.load_again", None)


@pytest.fixture
def interrupt(monkeypatch):
    """Returns ``interrupt(place, name, at)``.

    Afterwards the ``at``-th call of ``place.name`` sends Ctrl-C to the process.
    """

    def patch(place, name, at=1):
        function, calls = getattr(place, name), itertools.count(1)

        def interrupted(*arguments, **options):
            if next(calls) == at:
                signal.raise_signal(signal.SIGINT)
            return function(*arguments, **options)

        monkeypatch.setattr(place, name, interrupted)

    return patch
