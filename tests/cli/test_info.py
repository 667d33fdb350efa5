"""``pixelrnn info``: of a training, and of the installation."""

import json
import math
import platform
import re
import shutil
import signal

import torch

from pixelrnn_ext import cli, models
from pixelrnn_ext.training import checkpoint
from pixelrnn_ext.training.loop import Training

from .command_line import pixelrnn, train


def test_info_of_a_training(trained, tmp_path, capsys):
    out, lines = trained
    best, last = (str(out / name) for name in (checkpoint.BEST, checkpoint.LAST))
    said = {}
    for run in (str(out), last):
        pixelrnn("info", run)
        said[run] = dict(re.split(": +", line, maxsplit=1) for line in capsys.readouterr().out.splitlines())
    found = said[str(out)]
    assert found["model"].startswith("PixelRNN(layer='diagonal'") and re.match(r"\d+ \(.* KiB\)", found["parameters"])
    assert found["data"] == "digits (8x8, 17 levels); 1x8x8"
    assert re.fullmatch(rf"{best} \(.*iB\), {last} \(.*iB\)", found["checkpoints"])
    assert (found["log"], found["learning curve"]) == (str(out / "log.jsonl"), str(out / "learning-curve.png"))
    assert "conditional True" in found["options"] and "hidden-channels 3" in found["options"]
    step = re.search(r"step (\d+)", lines[-1])[1]
    assert f"test: {found['test']}; digits" in lines[-1] and found["step"] == f"{step}, the best on validation {step}"
    validation = [re.search(r"validation (\S+ \S+),", line)[1] for line in lines if re.search(rf"step {step}: ", line)]
    assert validation == [found["validation"]] and said[last]["validation"] == found["validation"]
    shutil.copy(last, tmp_path)  # alone, without its log
    pixelrnn("info", tmp_path / checkpoint.LAST)
    alone = dict(re.split(": +", line, maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert alone["validation"] == found["validation"] and alone["test"] == alone["log"] == "-"


def test_info_of_a_training_that_went_on_after_its_best_step(trained, tmp_path, capsys):
    out = shutil.copytree(trained[0], tmp_path / "run")
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    lines[-1]["step"] += 7  # where the training ended; best_step is the one that was scored
    (out / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    pixelrnn("info", out)
    printed = capsys.readouterr().out
    assert re.search(rf"^test: +{lines[-1]['score']:.4f} bits/dim$", printed, re.MULTILINE)
    assert "seed 0" in printed and "flip" not in printed


def test_info_says_how_far_a_training_went(tmp_path, capsys, monkeypatch):
    """Interrupted, finished, and by an older checkpoint."""

    def said():
        capsys.readouterr()
        pixelrnn("info", tmp_path)
        return re.search(r"^training: +(.*)$", capsys.readouterr().out, re.MULTILINE)[1]

    step = Training._step
    with monkeypatch.context() as patch:
        stop = {90: lambda: signal.raise_signal(signal.SIGINT)}  # in the second epoch
        patch.setattr(Training, "_step", lambda self, number: (stop.get(number, int)(), step(self, number))[1])
        assert train(tmp_path) == 130
    assert said() == "epoch 1.011 of 1.022, step 91 of 92, unfinished"
    pixelrnn("train", "--out", tmp_path, "--resume")
    assert said() == "epoch 1.022 of 1.022, step 92 of 92, finished"
    tensors, facts = checkpoint.load(tmp_path / checkpoint.LAST)
    del facts["length"]
    checkpoint.save(tmp_path / checkpoint.LAST, tensors, facts)
    assert said() == "step 92, finished"


def test_info_shows_a_size_as_it_is_given(tmp_path, trained, capsys):
    tensors, facts = checkpoint.load(trained[0] / checkpoint.LAST)
    facts["arguments"]["image_size"] = [24, 32]
    checkpoint.save(tmp_path / checkpoint.LAST, tensors, facts)
    pixelrnn("info", tmp_path / checkpoint.LAST)
    assert "image-size 24x32," in capsys.readouterr().out


def test_a_folder_that_is_no_training_s(tmp_path, capsys):
    assert cli.main(["info", str(tmp_path)]) == 2
    assert "to be the folder of a training, got one without best.safetensors" in capsys.readouterr().err


def test_info_of_a_training_before_its_first_score(trained, tmp_path, capsys):
    """Only to draw or to score there is no model."""
    tensors, facts = checkpoint.load(trained[0] / checkpoint.LAST)
    facts["progress"] |= {"best": math.inf, "best_step": 0}
    checkpoint.save(tmp_path / checkpoint.LAST, tensors, facts)
    pixelrnn("info", tmp_path)
    printed = capsys.readouterr().out
    assert re.search(r"^training: +epoch .*, unfinished$", printed, re.MULTILINE)
    assert re.search(r"^step: +\d+$", printed, re.MULTILINE) and "best on validation" not in printed
    assert cli.main(["evaluate", str(tmp_path)]) == 2
    assert "whose training has not come to its first score" in capsys.readouterr().err


def test_info_of_a_pretrained_model(capsys):
    pixelrnn("info", "mnist5k-diagonal")
    assert re.search(
        rf"^test: +{models.PRETRAINED['mnist5k-diagonal']['test']:.4f} nats$", capsys.readouterr().out, re.MULTILINE
    )


def test_info_is_the_default(capsys):
    pixelrnn()
    printed = capsys.readouterr().out
    assert cli.main(["info"]) == 0 and capsys.readouterr().out == printed and "why_no_cuda:" in printed


def test_info_names_what_a_bug_report_needs(capsys):
    pixelrnn("info")
    said = dict(re.split(": +", line, maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert said["system"].startswith(platform.system()) and said["python"] == platform.python_version()
    assert said["torch"] == torch.__version__ and "logical cores" in said["processor"]
    assert {"version", "gpus", "compiler", "instruction_set", "cuda"} <= said.keys()
