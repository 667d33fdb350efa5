import json
import re
import shlex
import shutil
import sys
from dataclasses import replace

import pytest
import torch

import pixelrnn_ext as px
from helpers.mnist import write_mnist
from helpers.root import ROOT
from helpers.tiny import tiny_data, tiny_training, write_cheap_curve
from pixelrnn_ext import cli
from pixelrnn_ext.models import trained
from pixelrnn_ext.operators import library
from pixelrnn_ext.training import checkpoint
from pixelrnn_ext.training.export import export, main, score_of_samples, without_paths

NAMES = sorted(px.models.PRETRAINED)
CARD = trained.FOLDER / "README.md"
each_name = pytest.mark.parametrize("name", NAMES)


def test_the_folder_holds_the_models_a_table_and_a_card():
    sizes = {path.name: path.stat().st_size for path in trained.FOLDER.iterdir()}
    assert set(sizes) == {f"{name}.safetensors" for name in NAMES} | {"README.md", trained.TABLE}
    assert max(sizes.values()) < 320_000 and sum(sizes.values()) < 2_400_000


@each_name
def test_a_pretrained_model_scores_samples_of_its_own_to_the_last_digit(name):
    facts = px.models.PRETRAINED[name]
    assert score_of_samples(px.pretrained(name), facts["samples"]) == facts["samples_score"]


@each_name
def test_a_pretrained_model_is_the_checkpoint_of_its_name(name, monkeypatch):
    """Loading must work without the package safetensors."""
    tensors, _ = checkpoint.load(trained.model_file(name))
    expected, facts = checkpoint.load_model(name)
    monkeypatch.setitem(sys.modules, "safetensors", None)
    model = px.pretrained(name)
    assert px.models.to_config(model) == facts["model"]
    assert not model.training and not any(module.training for module in model.modules())
    assert tensors.keys() == {f"model.{key}" for key in model.state_dict()}, "it holds more than the parameters"
    assert all(torch.equal(tensor, expected.state_dict()[key]) for key, tensor in model.state_dict().items())


def test_an_unknown_name_is_refused():
    with pytest.raises(
        ValueError, match="expected the name of a pretrained model, one of .*mnist5k-diagonal.*, got 'mnist'"
    ):
        px.pretrained("mnist")


def test_a_file_that_is_not_the_package_s_is_refused(tmp_path, monkeypatch):
    path = tmp_path / f"{NAMES[0]}.safetensors"
    content = bytearray((trained.FOLDER / path.name).read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    monkeypatch.setattr(trained, "FOLDER", tmp_path)
    message = r"expected a file whose SHA-256 is \w{64}, got \w{64}: .*" + NAMES[0]
    for load in (px.pretrained, checkpoint.load_model):
        with pytest.raises(ValueError, match=message):
            load(NAMES[0])


@each_name
def test_the_card_says_what_the_table_does(name):
    facts = px.models.PRETRAINED[name]
    card = CARD.read_text()
    (line,) = re.findall(rf"\| `{name}` \|.*", card)
    assert f"| {facts['validation']:.2f} | {facts['test']:.2f} |" in line
    assert f"{facts['sha256']}  {name}.safetensors" in card, "for sha256sum --check"


def without_names(text):
    """Returns commands that train, without the model's name, the path of the data set, and the ends of lines."""
    text = re.sub(r"\\\n\s+", "", text)
    return re.sub(r"--model \S+", "--model NAME", re.sub(r"(--data \w+):\S+", r"\1", text))


@each_name
@pytest.mark.parametrize("documents", [["Makefile", "docs/results.md"], [CARD]], ids=["script", "card"])
def test_a_model_was_trained_by_the_command_that_is_stated(name, documents):
    command = without_names(checkpoint.load(trained.model_file(name))[1]["command"])
    options = re.search(r" train (.*) --out", command)[1]
    assert any(options in without_names((ROOT / document).read_text()) for document in documents)


@pytest.mark.sweep
@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("mnist5k")])
@pytest.mark.parametrize("split", ["validation", "test"])
def test_the_scores_that_are_stated(name, split, capsys):
    assert cli.main(["evaluate", name, "--split", split, "--batch-size", "50"]) == 0
    printed = re.match(rf"{split}: (\d+\.\d{{4}}) nats; mnist5k \(.*\), 500 images; ", capsys.readouterr().out)
    assert float(printed[1]) == pytest.approx(px.models.PRETRAINED[name][split], abs=0.005)


def test_a_file_comes_before_a_pretrained_model_of_its_name(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / NAMES[0]).write_text("a text, and no checkpoint")
    assert cli.main(["evaluate", NAMES[0]]) == 2
    assert capsys.readouterr().err.startswith(f"pixelrnn: {NAMES[0]} is damaged or not a safetensors file")


def test_a_training_becomes_a_pretrained_model(tmp_path, monkeypatch):
    training = tiny_training(tmp_path / "run", steps=6, ema=0.5)
    training.facts["arguments"] = {"data": "tiny"}
    assert training.run()
    shutil.copy(trained.FOLDER / trained.TABLE, tmp_path)
    monkeypatch.setattr("pixelrnn_ext.training.export.load_again", lambda facts: tiny_data())
    path = export(training.out, "tiny", tmp_path)
    assert path == tmp_path / "tiny.safetensors"
    table = json.loads((tmp_path / trained.TABLE).read_text())
    assert set(table) == {*NAMES, "tiny"}
    assert table["tiny"]["validation"] == pytest.approx(training.progress.best, abs=1e-4)
    monkeypatch.setattr(trained, "FOLDER", tmp_path)
    monkeypatch.setitem(trained.PRETRAINED, "tiny", table["tiny"])
    model = px.pretrained("tiny")
    nats = -model.log_prob(tiny_data().splits["test"].images).mean().item()
    assert nats == pytest.approx(table["tiny"]["test"], 1e-4)
    for name in ("", "../tiny", "Tiny", ".tiny"):
        with pytest.raises(ValueError, match=f"expected a name of lower-case letters, digits, - and _, got '{name}'"):
            export(training.out, name, tmp_path)
    with pytest.raises(ValueError, match=f"expected a name that no model has, got 'tiny' of {tmp_path}: --force"):
        export(training.out, "tiny", tmp_path)
    assert export(training.out, "tiny", tmp_path, force=True) == path
    monkeypatch.setattr("pixelrnn_ext.training.export.load_again", lambda facts: replace(tiny_data(), classes=()))
    with pytest.raises(ValueError, match="expected the data of the training, .* with other pixels, labels or names"):
        export(training.out, "tiny", tmp_path, force=True)
    best, _ = checkpoint.load_model(training.out)
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in best.state_dict().items())


def test_an_exported_model_keeps_no_path_of_the_machine_that_trained_it(tmp_path, capsys, monkeypatch):
    """The model may be a conditional one. Another machine names its copy of the data set."""
    write_mnist(tmp_path / "files")
    (tmp_path / trained.TABLE).write_text("{}")
    spec, out = f"mnist:{tmp_path}/files", tmp_path / "run"
    options = "--model mnist-diagonal --conditional --hidden-channels 2 --num-layers 1 --steps 2 --samples 0"
    monkeypatch.setattr("pixelrnn_ext.training.gallery.write_learning_curve", write_cheap_curve)
    assert cli.main(["train", f"--data={spec}", *options.split(), "--out", str(out)]) == 0
    path = export(out, "mnist-diagonal-conditional", tmp_path)
    assert str(tmp_path).encode() not in path.read_bytes()
    monkeypatch.setattr(trained, "FOLDER", tmp_path)
    table = json.loads((tmp_path / trained.TABLE).read_text())
    monkeypatch.setitem(trained.PRETRAINED, path.stem, table[path.stem])
    assert px.pretrained(path.stem).condition_channels == 10
    capsys.readouterr()
    assert cli.main(["evaluate", path.stem, "--data", spec]) == 0
    printed = capsys.readouterr()
    assert f"test: {table[path.stem]['test']:.4f} nats" in printed.out and not printed.err


def test_the_last_part_of_a_path_is_kept():
    folder = {"path": "/home/me/cats", "options": {"fit": "crop"}, "files": {"digest": "a/b"}}
    facts = {"folder": folder, "description": "/home/me/cats (32x32 RGB, crop)", "steps": 5, "data": "hf:me/cats"}
    kept = {
        "folder": folder | {"path": "cats"},
        "description": "cats (32x32 RGB, crop)",
        "steps": 5,
        "data": "hf:me/cats",
    }
    assert without_paths(facts) == kept


def test_a_pretrained_model_is_not_replaced_unasked(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "save", None)
    with pytest.raises(SystemExit) as ended:
        main([str(tmp_path), NAMES[0]])
    assert ended.value.code == 2
    assert f"expected a name that no model has, got '{NAMES[0]}' of {trained.FOLDER}" in capsys.readouterr().err


def test_make_says_what_it_needs(monkeypatch):
    check = re.search(r"^pretrained:\n\t(python .*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    monkeypatch.setattr(library, "_why_no_native", "no")
    python, option, program = shlex.split(check)
    with pytest.raises(SystemExit, match="^no$"):
        exec(program)
    assert (python, option) == ("python", "-c")
