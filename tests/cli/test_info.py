import json
import math
import platform
import re
import shutil

import pytest
import torch

from helpers.tiny import tiny_checkpoint
from pixelrnn_ext import cli, codec, models
from pixelrnn_ext.training import checkpoint, journal

from .command_line import change_facts, error_of, pixelrnn


@pytest.fixture
def info(capsys):
    def run(*path):
        capsys.readouterr()
        pixelrnn("info", *path)
        return dict(re.split(": +", line, maxsplit=1) for line in capsys.readouterr().out.splitlines())

    return run


def test_info_of_a_training(trained, tmp_path, info):
    out, lines = trained
    best, last = (out / name for name in (checkpoint.BEST, checkpoint.LAST))
    found = info(out)
    assert found["model"].startswith("PixelRNN(layer='diagonal'") and re.match(r"\d+ \(.* KiB\)", found["parameters"])
    assert found["data"] == "digits (8x8, 17 levels); 1x8x8"
    assert re.fullmatch(rf"{best} \(.*iB\), {last} \(.*iB\)", found["checkpoints"])
    assert (found["log"], found["learning curve"]) == (str(out / "log.jsonl"), str(out / "learning-curve.png"))
    assert "conditional True, hidden-channels 3" in found["options"] and "seed 0" in found["options"]
    assert "flip" not in found["options"] and found["compiled"] == "no"
    step = re.search(r"step (\d+)", lines[-1])[1]
    assert f"test: {found['test']}; digits" in lines[-1] and found["step"] == f"{step}, the best on validation {step}"
    validation = [re.search(r"validation (\S+ \S+),", line)[1] for line in lines if re.search(rf"step {step}: ", line)]
    assert validation == [found["validation"]] and info(last)["validation"] == found["validation"]
    alone = info(shutil.copy(last, tmp_path))
    assert alone["validation"] == found["validation"] and alone["test"] == alone["log"] == "-"


def test_info_of_a_training_that_went_on_after_its_best_step(copied, info):
    entry = journal.read(copied)[-1]
    # The training ran on for seven steps, but `info` still shows the test score of the best step.
    entry["step"] += 7
    (copied / journal.LOG).write_text(json.dumps(entry) + "\n")
    assert info(copied)["test"] == f"{entry['score']:.4f} bits/dim"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda facts: None, "epoch 1.022 of 1.022, step 92 of 92, finished"),
        (
            lambda facts: facts["progress"].update(step=91, evaluated=90, best_step=90),
            "epoch 1.011 of 1.022, step 91 of 92, unfinished",
        ),
        (lambda facts: facts.pop("length"), "step 92, finished"),
    ],
    ids=["finished", "interrupted", "by an older version"],
)
def test_info_says_how_far_a_training_went(copied, info, change, expected):
    change_facts(copied / checkpoint.LAST, copied / checkpoint.LAST, change)
    assert info(copied)["training"] == expected


def test_info_shows_a_size_as_it_is_given(copied, info):
    last = copied / checkpoint.LAST
    change_facts(last, last, lambda facts: facts["arguments"].update(image_size=[24, 32]))
    assert "image-size 24x32," in info(last)["options"]


def test_info_of_a_training_before_its_first_score(trained, tmp_path, info, capsys):
    last = tmp_path / checkpoint.LAST
    change_facts(trained[0] / checkpoint.LAST, last, lambda facts: facts["progress"].update(best=math.inf, best_step=0))
    found = info(tmp_path)
    assert re.fullmatch("epoch .*, unfinished", found["training"]) and found["step"].isdecimal()
    assert error_of(capsys, "evaluate", tmp_path).endswith("whose training has not come to its first score")


def test_info_of_a_pretrained_model(info):
    found = info("mnist5k-diagonal")
    assert found["test"] == f"{models.PRETRAINED['mnist5k-diagonal']['test']:.4f} nats"
    assert found["fingerprint"] == codec.Codec(models.pretrained("mnist5k-diagonal")).fingerprint.hex()


def test_info_of_a_compressed_file(tmp_path, info, capsys):
    model = models.PixelCNN(image_channels=1, levels=2, hidden_channels=2, num_layers=1)
    coder = codec.Codec(model)
    groups = [
        torch.zeros(count, 1, *size, dtype=torch.uint8) for count, size in [(3, (4, 5)), (1, (7, 2)), (2, (4, 5))]
    ]
    file = tmp_path / "digits.prnn"
    file.write_bytes(coder.compress(groups, streams=1))
    assert info(file) == {
        "file": f"{file} ({file.stat().st_size} bytes)",
        "format": f"{codec.container.VERSION}, profile 0",
        "fingerprint": f"{coder.fingerprint.hex()} of the model that decodes it",
        "images": "5 of 4x5, 1 of 7x2",
        "streams": "3",
    }
    file.write_bytes(file.read_bytes()[:-1])
    assert error_of(capsys, "info", file).startswith("the file is damaged")


def test_a_model_without_a_fingerprint(tmp_path, info):
    """A sum of such weights would not be exact, so the model cannot compress images."""
    path = tiny_checkpoint(tmp_path / "model")
    tensors, facts = checkpoint.load(path)
    checkpoint.save(path, {name: tensor * 1e9 for name, tensor in tensors.items()}, facts)
    assert info(path)["fingerprint"].startswith("none: expected ")


def test_info_is_the_default_and_names_what_a_bug_report_needs(info, capsys):
    printed = info()
    assert printed["system"].startswith(platform.system()) and printed["python"] == platform.python_version()
    assert printed["torch"] == torch.__version__ and "logical cores" in printed["processor"]
    assert {"version", "gpus", "compiler", "instruction_set", "bfloat16", "cuda"} <= printed.keys()
    pixelrnn("info")
    printed = capsys.readouterr().out
    assert cli.main([]) == 0 and capsys.readouterr().out == printed
