import csv
import json
import re
import statistics

import torch

from helpers.mnist import write_mnist
from helpers.pictures import NAMES, write_named_pictures
from helpers.tiny import tiny_checkpoint, tiny_data
from pixelrnn_ext import models
from pixelrnn_ext.training import checkpoint, data
from pixelrnn_ext.training.folder import split_of

from .command_line import MODEL, error_of, pixelrnn


def test_evaluate_repeats_the_score_of_the_training(trained, capsys):
    out, lines = trained
    # Another batch size may change the rounding of the score.
    pixelrnn("evaluate", out)
    assert capsys.readouterr().out.strip() == lines[-1].removesuffix(", the best on validation")
    pixelrnn("evaluate --split validation --data digits --batch-size 50", out / "last.safetensors")
    assert re.match(r"validation: \d\.\d{4} bits/dim; digits .*176 images;.*step 92", capsys.readouterr().out)


def test_evaluate_for_a_program(trained, capsys):
    out, lines = trained
    pixelrnn("evaluate", out, "--json")
    printed = capsys.readouterr().out
    found = json.loads(printed)
    assert printed.count("\n") == 1
    step = re.search(r"step (\d+)", lines[-1])[1]
    assert f"test: {found['score']:.4f} {found['unit']}; {found['data']}, {found['images']} images" in lines[-1]
    assert (found["split"], found["step"], found["checkpoint"]) == ("test", int(step), str(out / checkpoint.BEST))
    assert found["versions"]["torch"] == torch.__version__
    model = models.from_config(found["model"])
    assert found["parameters"] == sum(parameter.numel() for parameter in model.parameters())


def test_all_splits_and_the_score_of_each_image(trained, tmp_path, capfd):
    evaluate, table = ("evaluate", trained[0]), tmp_path / "scores.csv"
    means, counts = [], []
    for split in data.SPLITS:
        pixelrnn(*evaluate, "--split", split, "--json")
        found = json.loads(capfd.readouterr().out)
        means.append(found["score"])
        counts.append(found["images"])
    pixelrnn(*evaluate, "--split", "all", "--per-image", table, "--classify")
    printed = capfd.readouterr().out.splitlines()
    average = sum(score * count for score, count in zip(means, counts)) / sum(counts)
    assert printed[0].startswith(f"all: {average:.4f} bits/dim; digits (8x8, 17 levels), {sum(counts)} images;")
    assert "% of the images" in printed[1]
    head, *rows = csv.reader(table.read_text().splitlines())
    assert head == ["split", "image", "class", "bits/dim"]
    digits = data.load("digits")
    labels = [(split, *pair) for split, part in digits.splits.items() for pair in enumerate(part.labels.tolist())]
    assert [row[:3] for row in rows] == [[*map(str, label)] for label in labels]
    for split, score in zip(data.SPLITS, means):
        assert abs(statistics.mean(float(row[3]) for row in rows if row[0] == split) - score) < 1e-4
    pixelrnn(*evaluate, "--per-image", "-")
    shown = capfd.readouterr()
    assert shown.out.splitlines()[1:] == [",".join(row) for row in rows if row[0] == "test"]
    assert "test: " in shown.err


def test_the_scores_of_a_folder_have_the_names_of_its_pictures(tmp_path, capsys):
    write_named_pictures(tmp_path / "pictures")
    model, table = tiny_checkpoint(tmp_path / "model", levels=256), tmp_path / "scores.csv"
    spec = f"folder:{tmp_path / 'pictures'}"
    options = "--image-size", "4x5", "--gray", "--split", "all", "--per-image", table
    pixelrnn("evaluate", model, "--data", spec, *options)
    _, *rows = csv.reader(table.read_text().splitlines())
    assert sorted(row[1] for row in rows) == sorted(NAMES)
    assert all(row[0] == split_of(row[1]) and row[1].startswith(row[2]) for row in rows)
    capsys.readouterr()
    refused = error_of(capsys, "evaluate", model, "--data", spec, *options[:-1], model)
    assert refused.startswith("expected --per-image to replace no input, no checkpoint")
    missing = error_of(capsys, "evaluate", model, "--data", spec, *options[:-1], tmp_path / "none/scores.csv")
    assert missing.startswith("expected --per-image to name a file in a folder that exists")


def test_a_dynamically_binarised_training_split_is_scored(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(data, "load", lambda *args, **kwargs: tiny_data())
    pixelrnn("train", "--data", "x", *MODEL, "--steps", "1", "--samples", "0", "--out", tmp_path)
    pixelrnn("evaluate", tmp_path, "--split", "train")
    assert "23 images" in capsys.readouterr().out
    pixelrnn("complete", tmp_path, "--split", "train", "--out", tmp_path / "x.png")


def test_draws_of_the_binarisation(trained, tmp_path, capsys):
    write_mnist(tmp_path)
    evaluate = "evaluate", tiny_checkpoint(tmp_path / "model"), "--data", f"mnist:{tmp_path}"
    pixelrnn(*evaluate)
    fixed = capsys.readouterr().out
    pixelrnn(*evaluate, "--draws", "4")
    printed = capsys.readouterr().out
    pixelrnn(*evaluate, "--draws", "4", "--json")
    scores = json.loads(capsys.readouterr().out)["draws"]
    mean, deviation = statistics.mean(scores), statistics.stdev(scores)
    assert printed == f"{fixed}4 draws: mean {mean:.4f} nats, standard deviation {deviation:.4f}\n"
    assert f"test: {scores[0]:.4f} nats" in fixed and len(set(scores)) == 4 and deviation < 0.01 * mean
    refused = "expected --draws with a data set that is binarised, got digits (8x8, 17 levels)"
    assert error_of(capsys, "evaluate", trained[0], "--draws", "2") == refused


def test_classes_by_their_likelihoods(tmp_path, capsys):
    write_mnist(tmp_path)
    spec = f"mnist:{tmp_path}"
    path = tiny_checkpoint(tmp_path / "model", classes=tuple("0123456789"))
    pixelrnn("evaluate", path, "--data", spec, "--classify")
    model, test = checkpoint.load_model(path)[0], data.load(spec).splits["test"]
    with torch.no_grad():
        likelihoods = [model.log_prob(test.images, one_hot) for one_hot in torch.eye(10)[:, None, :, None, None]]
    guess = torch.stack(likelihoods).argmax(0)
    right = (guess == test.labels).double().mean()
    assert len(guess.unique()) > 1 and 0 < right < 1
    assert capsys.readouterr().out.endswith(f"\n{right:.2%} of the images are most likely under their own class\n")
    expected = "expected a model that is told an image's class, got one without classes"
    assert error_of(capsys, "evaluate", tiny_checkpoint(path), "--data", spec, "--classify") == expected
