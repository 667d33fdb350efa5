"""A command that cannot do its work ends with one sentence and a status."""

import re
import shlex
import subprocess
import sysconfig
from pathlib import Path

import pytest
from PIL import Image

from pixelrnn_ext import cli
from pixelrnn_ext.training import checkpoint

from .command_line import MODEL, change_facts, ended, refused


@pytest.fixture
def places(tmp_path):
    """{name: path} of a place where nothing is, of a text, and of a mask of another size than the images."""
    paths = {"new": tmp_path / "new", "file": tmp_path / "text.safetensors", "mask": tmp_path / "mask.png"}
    paths["file"].write_text("a text, and no checkpoint")
    Image.new("L", (8, 9)).save(paths["mask"])
    return paths


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("train --data digits --out {new}", "--data and --model"),
        (
            "train --data digits --model mnist-diagonal --out {new}",
            "images with 1 channels and 2 levels, .* 17 of digits",
        ),
        ("train --data photos --model row --conditional --out {new}", "a data set with labels for a conditional"),
        ("train --data digits --model row --batch-size 9999 --out {new}", "a batch size from 1 to the 1445"),
        ("train --data digits --model row --device cuda:77 --out {new}", "a device of this machine, got 'cuda:77'"),
        ("train --data digits --model row --device meta --out {new}", "a device cpu, cuda or .*, got 'meta'"),
        ("train --data digits --model row --out {file}/new", "--out to be a folder, got {file}"),
        ("train --data digits --model row --out {file}", "--out to be a folder, got {file}"),
        ("train --resume --out {new}", "a training to go on with in --out, got no checkpoint in {new}"),
        ("evaluate {trained} --gray", "no gray for digits, which does not take it"),
        ("evaluate {new}", "a checkpoint, .* of a training, or a pretrained model of mnist5k-.*, got {new}, which is"),
        ("evaluate {trained} --data photos", "images with 1 channels and 17 levels, .* got 3 and 256 of photos"),
        ("sample {trained} --out {new} --size 200000x200000", "images that fit into this machine's .* MiB"),
        ("sample {trained} --out {new}/x.png", "--out to name a file in a folder that exists, got {new}/x.png"),
        ("sample {new} --out {new}.bmp", "a picture's name to end in .png, .*, .gif, got {new}.bmp"),
        ("sample {new} --animate --out {new}.png", "an animation's name to end in .gif, got {new}.png"),
        (
            "sample {trained} --out {new}.webp --count 300 --columns 1",
            "a picture of sides up to 16383, as WEBP .* 19802x68",
        ),
        ("sample {trained} --out {new} --label 11", "a class of 0, .*, 9, got '11'"),
        ("sample {trained} --out {new} --temperature -1", "temperature"),
        ("complete {new} --out {new}.png.bak", "a picture's name to end in .*, got {new}.png.bak"),
        ("complete {trained} --out {new}.webp --count 99 --completions 300", "a picture of sides up to 16383"),
        ("complete {trained} --out {new} --hide {mask}", "a mask of 8x8 pixels, .* got 9x8 in {mask}"),
    ],
)
def test_bad_input_is_one_sentence(trained, places, capsys, arguments, message):
    sentence = refused(capsys, *arguments.format(trained=trained[0], **places).split())
    assert re.search(f"^expected .*{message.format(**places)}", sentence), sentence
    assert not places["new"].exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("evaluate /dev/null", "/dev/null cannot be read: "),
        ("evaluate {file}", "{file} is damaged or not a safetensors file"),
        ("complete {trained} --out {new} --hide {file}", "{file} cannot be read as an image"),
        ("complete {trained} --out {new} --hide {new}.png", "{new}.png cannot be read as an image"),
    ],
)
def test_what_cannot_be_read(trained, places, capsys, arguments, message):
    sentence = refused(capsys, *arguments.format(trained=trained[0], **places).split())
    assert sentence.startswith(message.format(**places))


INTEGER = "expected an integer >= {} of 64 bits, got '{}'"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("nonsense", "argument COMMAND: invalid choice: 'nonsense'"),
        ("train", "the following arguments are required: --out"),
        ("train --out x --steps 0", INTEGER.format(1, 0)),
        ("train --out x --steps 2 --epochs 2", "--epochs: not allowed with argument --steps"),
        (
            "train --out x --parameters 9 --hidden-channels 3",
            "--hidden-channels: not allowed with argument --parameters",
        ),
        ("train --out x --resume --overwrite", "--overwrite: not allowed with argument --resume"),
        ("sample x --out y --size 0x4", "expected a size such as 32 or 24x32 (height x width), got '0x4'"),
        ("sample x --out y --seed 99999999999999999999999", INTEGER.format(0, 99999999999999999999999)),
        ("train --out x --seed 99999999999999999999999", INTEGER.format(0, 99999999999999999999999)),
        ("train --out ''", "expected a path, got an empty one"),
        ("sample x --out ''", "expected a path, got an empty one"),
        ("complete x --out ''", "expected a path, got an empty one"),
        ("compress x '' --out y", "argument IMAGES: expected a path, got an empty one"),
    ],
)
def test_wrong_options_say_the_usage(arguments, message, capsys):
    said = ended(capsys, 2, *shlex.split(arguments)).err
    assert "usage: pixelrnn" in said and message in said.splitlines()[-1]


def test_a_folder_that_cannot_be_written_to_is_found_first(trained, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != tmp_path)
    monkeypatch.setattr("pixelrnn_ext.training.data.load", None)
    expected = f"expected --out in a folder that can be written to, got {tmp_path}"
    assert refused(capsys, "train", "--data", "digits", *MODEL, "--out", tmp_path / "new" / "er") == expected
    for command in ("sample", "complete"):
        assert refused(capsys, command, trained[0], "--out", tmp_path / "x.png") == expected


@pytest.mark.parametrize("key", ["data", "seed"])
def test_a_checkpoint_without_its_data_set_asks_for_it(trained, tmp_path, capsys, key):
    last = change_facts(
        trained[0] / checkpoint.LAST, tmp_path / checkpoint.LAST, lambda facts: facts["arguments"].pop(key)
    )
    if key == "data":
        assert "expected --data, since" in refused(capsys, "evaluate", last)
    assert "expected --" in refused(capsys, "train", "--resume", "--out", tmp_path)


def test_torchrun_says_an_error_once(tmp_path, capsys, monkeypatch):
    """The variables are those of two of its processes. The command can be repeated."""
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    said = []
    for machines, rank in (("1", "0"), ("3", "1")):
        monkeypatch.setenv("GROUP_WORLD_SIZE", machines)
        monkeypatch.setenv("LOCAL_RANK", rank)
        assert cli.main(["evaluate", "nothing"]) == 2
        said.append(capsys.readouterr().err)
    assert "got nothing, which is none of them\n" in said[0] and not said[1]
    assert cli._launched() == "torchrun --nnodes 3 --nproc-per-node 2 -m pixelrnn_ext"


def test_the_console_script(tmp_path):
    script = Path(sysconfig.get_path("scripts")) / "pixelrnn"
    done = subprocess.run([script, "evaluate", "nothing"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.endswith("got nothing, which is none of them\n")
