import contextlib

import pytest
import tqdm

from helpers.pictures import NAMES, write_named_pictures
from pixelrnn_ext import cli
from pixelrnn_ext.training import data, progress

MODEL = ["--model", "multiscale", "--hidden-channels", "3", "--num-layers", "1", "--head-channels", "8"]


@pytest.fixture
def bars(monkeypatch):
    """A list of (description, unit, done, total), one for each progress bar that was closed."""
    ended = []

    class Recorded(tqdm.tqdm):
        def __init__(self, *args, **options):
            super().__init__(*args, **options | {"disable": False, "delay": 0})

        def close(self):
            if not self.disable:  # close() sets disable, so this runs once
                ended.append((self.desc, self.unit, self.n, self.total))
            super().close()

    monkeypatch.setattr(tqdm, "tqdm", Recorded)
    return ended


def test_everything_long_of_a_training_has_a_bar(bars, tmp_path, capsys):
    out = tmp_path / "run"
    begin = ["train", "--data", "digits", *MODEL, "--steps", "2", "--samples", "2", "--out", str(out)]
    assert cli.main(begin) == 0
    assert bars == [
        ("validation", " images", 176, 176),
        ("samples", " rows", 8, 8),
        ("", " images", 32, 32),
        ("test", " images", 176, 176),
    ]
    bars.clear()
    data.load(f"folder:{write_named_pictures(tmp_path / 'pictures', NAMES[:3])}")
    assert bars == [("reading", " files", 3, 3)]
    bars.clear()
    assert cli.main(["evaluate", str(out), "--split", "validation"]) == 0
    assert cli.main(["sample", str(out), "--out", str(tmp_path / "a.gif"), "--count", "3", "--batch-size", "2"]) == 0
    assert bars == [("validation", " images", 176, 176), ("", " rows", 16, 16), ("writing", " frames", 65, 65)]


@pytest.mark.parametrize(("rank", "hidden"), [(None, None), ("0", None), ("1", True)])
def test_one_process_shows_bars(monkeypatch, rank, hidden):
    """disable=None tells tqdm to show a bar only on a terminal."""
    bar_options = []
    monkeypatch.delenv("RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("RANK", rank)
    monkeypatch.setattr(tqdm, "tqdm", lambda **options: bar_options.append(options) or contextlib.nullcontext())
    with progress.bar("files", 3, "reading"):
        pass
    assert [options["disable"] for options in bar_options] == [hidden]
