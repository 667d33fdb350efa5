"""Commands on a data set of the library `datasets`, from parquet files."""

import os
import re

import pytest
import torch

from helpers.hub import offline, pixels_of, png, write_parquet
from pixelrnn_ext.cli import coding
from pixelrnn_ext.training import checkpoint, data

from .command_line import error_of, pixelrnn

pytest.importorskip("datasets", reason="the hub extra brings datasets")

OPTIONS = "--image-size 8 --gray --cache cache --workers 1 --batch-size 4 --steps 1 --samples 0"
OPTIONS += " --model row --hidden-channels 3 --num-layers 1 --head-channels 4"


@pytest.fixture(autouse=True)
def trained(monkeypatch, tmp_path, capsys):
    """Trains in the working directory. Returns the test score as `evaluate` prints it."""
    offline(monkeypatch, tmp_path / "library")
    monkeypatch.chdir(tmp_path)
    write_parquet(tmp_path / "pq")
    pixelrnn(f"train --data hf:pq --out run {OPTIONS}")
    printed = capsys.readouterr().out
    assert "50 images read" in printed
    return printed.splitlines()[-1].removesuffix(", the best on validation")


def test_a_training_goes_on_with_the_data_of_its_checkpoint_alone(tmp_path, capsys, trained):
    facts = checkpoint.load(tmp_path / "run" / checkpoint.LAST)[1]
    assert facts["data"]["fingerprint"].keys() == {"sha256"}
    assert facts["arguments"]["data"] == f"hf:{tmp_path}/pq" and facts["arguments"]["cache"] == f"{tmp_path}/cache"
    pixelrnn("evaluate run")
    assert capsys.readouterr() == (f"{trained}\n", "50 images read\n")
    pixelrnn("evaluate run --data hf:pq --workers 0")
    assert capsys.readouterr().out == f"{trained}\n"
    pixelrnn("train --resume --out run --steps 2 --workers 0")
    refused = (
        "expected the data of the training, hf:.*pq .8x8 gray, crop., got .* with other pixels, labels or names of"
    )
    assert re.match(refused, error_of(capsys, "train --resume --out run --steps 3 --fit squash --image-size 8x7"))
    write_parquet(tmp_path / "pq", change={5: png(pixels_of("other", 5))})
    assert re.match(refused, error_of(capsys, "train --resume --out run --steps 3"))
    pixelrnn("evaluate run")
    other = "not the images of the training: the data set has changed, or is read with other options"
    assert capsys.readouterr().err.splitlines() == ["50 images read", other]


def test_a_folder_may_move(tmp_path, capsys):
    (tmp_path / "pq").rename(tmp_path / "moved")
    moved = r"hf:.*/pq cannot be loaded: .*[^.]; --data hf:PATH says where the images of the training are now$"
    assert re.match(moved, error_of(capsys, "train --resume --out run --steps 2"))
    refused = "expected the data of the training, hf:.*pq .8x8 gray, crop., got hf:.*other .* with other pixels, labels"
    for difference in (dict(change={5: png(pixels_of("other", 5))}), dict(names=("even", "uneven"))):
        write_parquet(tmp_path / "other", **difference)
        assert re.match(refused, error_of(capsys, "train --resume --out run --steps 2 --data hf:other"))
    pixelrnn("train --resume --out run --steps 2 --data hf:moved")
    assert "from step 1" in capsys.readouterr().out
    pixelrnn("evaluate run")
    assert capsys.readouterr().err == "50 images read\n"


def test_a_training_of_parts_of_splits_goes_on(capsys):
    pixelrnn(f"train --data hf:pq --out parts {OPTIONS} --splits train[:80%] train[80%:90%] train[90%:]")
    assert "train 32, validation 4, test 4" in capsys.readouterr().out
    pixelrnn("train --resume --out parts --steps 2")
    parts = "train[:80%] train[80%:90%] train[90%:]"
    sentence = f"expected --splits {parts}, with which the training began, got train test test"
    assert error_of(capsys, "train --resume --out parts --steps 3 --splits train test test") == sentence


def test_a_file_of_another_size_but_the_old_time_is_noticed(tmp_path, capsys):
    file = tmp_path / "pq" / "train-00000-of-00002.parquet"
    before = file.stat()
    write_parquet(tmp_path / "pq", change={5: png(pixels_of("other", 5, side=9))})
    assert file.stat().st_size != before.st_size
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    refused = "expected the data of the training, .* with other pixels"
    assert re.match(refused, error_of(capsys, "train --resume --out run --steps 2"))


def test_a_split_is_compressed_as_the_training_read_it(capsys):
    pixelrnn("compress run hf:pq:test --out images.prnn")
    printed = capsys.readouterr()
    assert printed.out.startswith("10 images, ") and "50 images read" in printed.err.splitlines()


def test_a_split_to_compress_is_not_copied_into_memory(monkeypatch):
    split = data.Split(torch.zeros(2, 1, 4, 4, dtype=torch.uint8))
    monkeypatch.setattr(coding, "_load", lambda *_: split)
    monkeypatch.setattr(coding, "VALUES_PER_GROUP", 16)
    groups = coding.read(["digits:test"], None, {}, 1)
    assert [group.images.data_ptr() for group in groups] == [image.data_ptr() for image in split.images]
