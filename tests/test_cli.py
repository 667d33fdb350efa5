"""The command line, called as the console script calls it: what it writes, prints and answers with."""

import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy
import pytest
import safetensors.torch
import torch
from PIL import Image

from pixelrnn_ext import cli, models
from pixelrnn_ext.training import checkpoint, output
from pixelrnn_ext.training.loop import Training
from tiny import tiny_data

MODEL = ["--model", "diagonal", "--hidden-channels", "3", "--num-layers", "1", "--head-channels", "8"]


def train(out, *more):
    """92 steps, two of them in the second epoch, at 90 an epoch."""
    return cli.main(["train", "--data", "digits", *MODEL, "--steps", "92", "--samples", "0", "--out", str(out), *more])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a training and what it printed."""
    out = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        lines = []
        patch.setattr("tqdm.tqdm.write", lines.append)
        assert train(out, "--conditional", "--samples", "4") == 0
    return out, lines


def refused(capsys, *arguments):
    """The one sentence of a command that must fail."""
    status = cli.main(list(map(str, arguments)))
    printed = capsys.readouterr()
    assert status == 2 and "Traceback" not in printed.err
    (line,) = printed.err.splitlines()
    return line


def test_train_says_what_it_does(trained):
    out, lines = trained
    text = "\n".join(lines)
    assert re.search(r"command +pixelrnn train --data digits", text)
    assert re.search(r"data +digits \(8x8, 17 levels\): train 1445, validation 176, test 176; 1x8x8", text)
    assert (
        re.search(r"parameters +\d+ \(\d+\.\d KiB\)\n", text)
        and f"torch {torch.__version__}" in text
        and "threads" in text
    )
    assert re.search(r"epoch 1, step 90: train \d\.\d+, validation \d\.\d+ bits/dim.*images/s; digits", text)
    assert re.fullmatch(r"test: \d\.\d{4} bits/dim; digits .*176 images; diagonal PixelRNN, step 9[02],.*", lines[-1])
    names = {path.name for path in out.iterdir()}
    pictures = {"learning-curve.png", "samples-0000090.png", "samples-0000092.png"}
    assert names == {"last.safetensors", "best.safetensors", "log.jsonl", *pictures}
    entries = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert {entry["event"] for entry in entries} == {"train", "validation", "test"}
    assert all("digits" in entry["data"] and entry["unit"] == "bits/dim" for entry in entries)


def test_evaluate_repeats_the_score_of_the_training(trained, capsys):
    out, lines = trained
    assert cli.main(["evaluate", str(out), "--batch-size", "50"]) == 0
    assert capsys.readouterr().out.strip() == lines[-1].removesuffix(", the best on validation")
    assert cli.main(["evaluate", str(out / "last.safetensors"), "--split", "validation", "--data", "digits"]) == 0
    assert re.match(r"validation: \d\.\d{4} bits/dim; digits .*176 images;.*step 92", capsys.readouterr().out)


def test_evaluate_for_a_program(trained, capsys):
    out, lines = trained
    assert cli.main(["evaluate", str(out), "--json"]) == 0
    printed = capsys.readouterr().out
    found = json.loads(printed)
    assert printed.count("\n") == 1
    step = re.search(r"step (\d+)", lines[-1])[1]
    assert f"test: {found['score']:.4f} {found['unit']}; {found['data']}, {found['images']} images" in lines[-1]
    assert (found["split"], found["step"], found["checkpoint"]) == ("test", int(step), str(out / checkpoint.BEST))
    assert found["versions"]["torch"] == torch.__version__
    model = models.from_config(found["model"])
    assert found["parameters"] == sum(parameter.numel() for parameter in model.parameters())


def test_info_of_a_training_that_went_on_after_its_best_step(trained, tmp_path, capsys):
    out = shutil.copytree(trained[0], tmp_path / "run")
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    lines[-1]["step"] += 7  # where the training ended; best_step is the one that was scored
    (out / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert cli.main(["info", str(out)]) == 0
    printed = capsys.readouterr().out
    assert re.search(rf"^test: +{lines[-1]['score']:.4f} bits/dim$", printed, re.MULTILINE)
    assert "seed 0" in printed and "flip" not in printed


@pytest.mark.parametrize(
    ("names", "message"),
    [
        pytest.param(
            ["last.safetensors"], "expected best.safetensors in .*, whose training has not come", id="no-score"
        ),
        pytest.param([], "to be the folder of a training, got one without best.safetensors", id="another"),
    ],
)
def test_a_folder_without_a_best_checkpoint(trained, names, message, tmp_path, capsys):
    for name in names:
        shutil.copy(trained[0] / name, tmp_path)
    assert cli.main(["info", str(tmp_path)]) == 2
    assert re.search(message, capsys.readouterr().err)


def test_info_of_a_pretrained_model(capsys):
    assert cli.main(["info", "mnist5k-diagonal"]) == 0
    assert re.search(
        rf"^test: +{models.PRETRAINED['mnist5k-diagonal']['test']:.4f} nats$", capsys.readouterr().out, re.MULTILINE
    )


def test_info_of_a_training(trained, tmp_path, capsys):
    out, lines = trained
    best, last = (str(out / name) for name in (checkpoint.BEST, checkpoint.LAST))
    said = {}
    for run in (str(out), last):
        assert cli.main(["info", run]) == 0
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
    assert cli.main(["info", str(tmp_path / checkpoint.LAST)]) == 0
    alone = dict(re.split(": +", line, maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert alone["validation"] == found["validation"] and alone["test"] == alone["log"] == "-"


@pytest.mark.parametrize("command", ["sample", "complete"])
def test_a_gif_shows_pixels_as_they_are_drawn(trained, tmp_path, command):
    still, moving = tmp_path / "a.png", tmp_path / "a.gif"
    for picture in (still, moving):
        assert cli.main([command, str(trained[0]), "--out", str(picture), "--count", "2"]) == 0
    with Image.open(moving) as opened:
        frames = []
        for number in range(opened.n_frames):
            opened.seek(number)
            frames.append(numpy.array(opened.convert("RGB")).astype(int))
        assert opened.info["loop"] == 0 and opened.info["duration"] == 2000
    final = numpy.array(Image.open(still)).astype(int)
    assert (frames[-1] == final).all()
    drawn = final[:, :66] if command == "sample" else final[2 * 66 :, :66]
    hidden = 128
    for number, frame in enumerate(frames):
        part = (frame[:, :66] if command == "sample" else frame[2 * 66 :, :66])[2:66, 2:, 0][4::8, 4::8].flatten()
        whole = drawn[2:66, 2:, 0][4::8, 4::8].flatten()
        changed = (part != whole).nonzero()[0]  # those still to come, which are gray
        assert (part[changed] == hidden).all() and (
            part[: changed.min(initial=64)] == whole[: changed.min(initial=64)]
        ).all()
        assert number < len(frames) - 1 or not len(changed)
    assert 20 < len(frames) <= 65


def test_sample_writes_a_grid(trained, tmp_path, capsys):
    out, _ = trained
    grids = []
    for name, more in {"all": [], "again": [], "other": ["--seed", "1"], "threes": ["--label", "3"]}.items():
        picture = tmp_path / f"{name}.png"
        assert cli.main(["sample", str(out), "--out", str(picture), "--count", "6", "--batch-size", "4", *more]) == 0
        grids.append(numpy.array(Image.open(picture)))
    assert capsys.readouterr().out.splitlines()[0] == f"6 samples: {tmp_path / 'all.png'}"
    assert grids[0].shape == (2 * 66 + 2, 3 * 66 + 2, 3)  # 8x8 magnified 8 times, a margin of 2
    assert (grids[0] == grids[1]).all() and (grids[0] != grids[2]).any() and (grids[0] != grids[3]).any()


def test_the_suffix_of_out_is_the_format(trained, tmp_path):
    pixels = {}
    for name, format in {"a.png": "PNG", "b.PNG": "PNG", "c": "PNG", "d.webp": "WEBP", "e.jpg": "JPEG"}.items():
        picture = tmp_path / name
        assert cli.main(["sample", str(trained[0]), "--out", str(picture), "--count", "1", "--size", "2x2"]) == 0
        with Image.open(picture) as opened:
            assert opened.format == format
            pixels[name] = numpy.array(opened).astype(int)
    for name, got in pixels.items():
        assert abs(got - pixels["a.png"]).max() <= (2 if name == "e.jpg" else 0)


def test_a_picture_into_a_pipe_and_the_standard_output(trained, tmp_path, capfd):
    """Nothing else is printed behind it; the pipe is none the less one afterwards."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as reader:
        content = reader.submit(pipe.read_bytes)
        assert cli.main(["sample", str(trained[0]), "--out", str(pipe), "--count", "1", "--size", "2x2"]) == 0
        assert content.result().startswith(b"\x89PNG") and pipe.is_fifo()
    assert capfd.readouterr() == ("", f"1 samples: {pipe}\n")


def test_sample_of_another_size(trained, tmp_path):
    picture = tmp_path / "sample.png"
    assert cli.main(["sample", str(trained[0]), "--out", str(picture), "--count", "1", "--size", "5x16"]) == 0
    assert numpy.array(Image.open(picture)).shape == (5 * 4, 16 * 4, 3)


@pytest.mark.parametrize("hide", ["lower-half", "box", "mask"])
def test_complete_keeps_what_is_shown(trained, tmp_path, hide):
    """Rows of originals, of what is shown, of completions; 8x8 images are magnified 8 times."""
    hidden = numpy.zeros((8, 8), bool)
    if hide == "mask":
        hidden[1:3, 5:] = hidden[7, 0] = True
        Image.fromarray(hidden).save(tmp_path / "mask.png")
    else:
        hidden[
            slice(4, 8) if hide == "lower-half" else slice(2, 6), slice(0, 8) if hide == "lower-half" else slice(2, 6)
        ] = True
    picture, what = tmp_path / "completed.png", str(tmp_path / "mask.png") if hide == "mask" else hide
    arguments = [
        "complete",
        str(trained[0]),
        "--out",
        str(picture),
        "--count",
        "3",
        "--completions",
        "2",
        "--hide",
        what,
    ]
    assert cli.main(arguments) == 0
    pixels = numpy.array(Image.open(picture))[..., 0]
    grid = pixels[2:, 2:].reshape(4, 66, 3, 66)[:, 4:64:8, :, 4:64:8].transpose(0, 2, 1, 3)
    originals, shown, *completions = grid
    assert (shown[:, hidden] == 128).all() and (shown[:, ~hidden] == originals[:, ~hidden]).all()
    assert all((completion[:, ~hidden] == originals[:, ~hidden]).all() for completion in completions)
    assert any((completion[:, hidden] != originals[:, hidden]).any() for completion in completions)


def test_ctrl_c_in_training_is_no_loss(tmp_path, capsys, monkeypatch):
    step = Training._step

    def interrupted(self, number):
        if number == 40:
            signal.raise_signal(signal.SIGINT)
        return step(self, number)

    straight, resumed = tmp_path / "straight", tmp_path / "resumed"
    assert train(straight) == 0
    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(Training, "_step", interrupted)
    assert train(resumed) == 130
    assert signal.getsignal(signal.SIGINT) is before
    said = capsys.readouterr().out.splitlines()[-1]
    assert said == f"stopped after step 41; to go on: pixelrnn train --out {resumed} --resume"
    assert cli.main(["train", "--out", str(resumed), "--resume"]) == 0
    for name in (checkpoint.LAST, checkpoint.BEST):
        expected, got = (checkpoint.load(folder / name)[0] for folder in (straight, resumed))
        assert expected.keys() == got.keys() and all(torch.equal(expected[key], got[key]) for key in expected)


def test_a_resumed_training_may_be_longer_but_no_other(trained, tmp_path, capsys):
    out = tmp_path / "longer"
    assert train(out) == 0
    capsys.readouterr()
    sentence = refused(capsys, "train", "--out", out, "--resume", "--learning-rate", "0.5")
    assert sentence == "pixelrnn: expected --learning-rate 0.001, with which the training began, got 0.5"
    assert cli.main(["train", "--out", str(out), "--resume", "--steps", "94"]) == 0
    assert "from step 92" in capsys.readouterr().out
    assert checkpoint.load(out / checkpoint.LAST)[1]["progress"]["step"] == 94
    assert f"{out} holds a training" in refused(capsys, "train", "--out", out, "--data", "digits", *MODEL)


def test_a_folder_in_use_is_refused_and_the_holder_is_named(trained, tmp_path, capsys, monkeypatch):
    """Before the data set is loaded; a thread's lock is no other thread's."""
    monkeypatch.setattr("pixelrnn_ext.training.data.load", None)
    shutil.copy(trained[0] / checkpoint.LAST, tmp_path)
    done = threading.Event()

    def hold(held):
        with output.locked(tmp_path, "pixelrnn train ..."):
            held.set()
            done.wait()

    with ThreadPoolExecutor(1) as other:
        held = threading.Event()
        other.submit(hold, held)
        held.wait()
        said = [refused(capsys, "train", "--out", tmp_path, *more) for more in (["--resume"], ["--data", "x", *MODEL])]
        done.set()
    expected = (
        rf"pixelrnn: {tmp_path} is being trained in by process {os.getpid()} on .+ since .+: pixelrnn train \.\.\."
    )
    assert all(re.fullmatch(expected, sentence) for sentence in said), said


def test_a_training_without_a_last_checkpoint_is_kept_unless_overwritten(trained, tmp_path, capsys, monkeypatch):
    shutil.copy(trained[0] / checkpoint.BEST, tmp_path)
    shutil.copy(trained[0] / "log.jsonl", tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with monkeypatch.context() as patch:
        patch.setattr("pixelrnn_ext.training.data.load", None)
        sentence = refused(capsys, "train", "--data", "digits", *MODEL, "--out", tmp_path)
    assert sentence.startswith(
        f"pixelrnn: {tmp_path} holds a training: expected --resume to go on with it, --overwrite"
    )
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    # A command that cannot begin removes nothing.
    assert "got 'nothing'" in refused(
        capsys, "train", "--data", "digits", "--model", "nothing", "--out", tmp_path, "--overwrite"
    )
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert train(tmp_path, "--overwrite", "--steps", "1") == 0
    entries = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert {entry["step"] for entry in entries} == {1}
    facts = checkpoint.load(tmp_path / checkpoint.LAST)[1]
    assert facts["progress"]["step"] == 1 and "overwrite" not in facts["arguments"]


def test_a_broken_line_of_the_log_is_left_out_and_said(trained, tmp_path, capsys):
    shutil.copytree(trained[0], tmp_path, dirs_exist_ok=True)
    log = tmp_path / "log.jsonl"
    before = log.read_bytes()
    log.write_bytes(b'{"a": 1}\n\xff\n' + before)
    assert cli.main(["train", "--resume", "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().err.splitlines()
    assert said == [f"pixelrnn: {log}: line {n} is not an entry of a log, and is left out" for n in (1, 2)]
    assert log.read_bytes() == before


def test_no_matplotlib_is_said_once_and_ends_no_training(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setitem(sys.modules, "torchvision.utils", None)
    assert train(tmp_path, "--samples", "1", "--steps", "1") == 0
    said = capsys.readouterr().err.splitlines()
    for what in ("a learning curve", "pictures of samples"):
        assert sum(f"training goes on without {what}: " in line for line in said) == 1
    assert len(said) == 2 and not list(tmp_path.glob("*.png"))


@pytest.mark.parametrize("package", ["filelock", "safetensors.torch", "tqdm"])
def test_a_package_that_training_needs_is_missed_before_the_work(tmp_path, capsys, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr("pixelrnn_ext.training.data.load", None)
    assert package in refused(capsys, "train", "--data", "digits", *MODEL, "--out", tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("package", ["PIL.Image", "torchvision.utils"])
@pytest.mark.parametrize("command", ["sample", "complete"])
def test_a_package_that_a_picture_needs_is_missed_before_the_work(capsys, tmp_path, monkeypatch, package, command):
    monkeypatch.setitem(sys.modules, package, None)
    assert package in refused(capsys, command, "nothing", "--out", tmp_path / "x.png")


def test_a_dynamically_binarised_training_split_is_scored(tmp_path, capsys, monkeypatch):
    from pixelrnn_ext.training import data

    monkeypatch.setattr(data, "load", lambda *args, **kwargs: tiny_data())
    assert cli.main(["train", "--data", "x", *MODEL, "--steps", "1", "--samples", "0", "--out", str(tmp_path)]) == 0
    assert cli.main(["evaluate", str(tmp_path), "--split", "train"]) == 0
    assert "23 images" in capsys.readouterr().out
    assert cli.main(["complete", str(tmp_path), "--split", "train", "--out", str(tmp_path / "x.png")]) == 0


@pytest.mark.parametrize("command", ["sample", "complete"])
def test_ctrl_c_in_sampling_keeps_what_is_finished(trained, tmp_path, capsys, monkeypatch, command):
    sample = models.AutoregressiveModel.sample
    calls = []

    def interrupted(self, *args, **kwargs):
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return sample(self, *args, **kwargs)

    monkeypatch.setattr(models.AutoregressiveModel, "sample", interrupted)
    picture = tmp_path / "grid.png"
    assert cli.main([command, str(trained[0]), "--out", str(picture), "--count", "8", "--batch-size", "2"]) == 130
    what = "samples" if command == "sample" else "completions"
    assert capsys.readouterr().err.splitlines()[-1] == f"interrupted; 4 finished {what} are in {picture}"
    height = 2 if command == "sample" else 5
    assert numpy.array(Image.open(picture)).shape[0] == height * 66 + 2


def test_ctrl_c_elsewhere_is_one_word(trained, capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "load_model", interrupted)
    assert cli.main(["evaluate", str(trained[0])]) == 130
    assert capsys.readouterr().err == "interrupted\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("train --data nothing --model row --out {new}", "expected a data set of digits, .* got 'nothing'"),
        ("train --data digits --model resnet --out {new}", "expected a model of row, .*imagenet64-row, got 'resnet'"),
        ("train --data digits --out {new}", "expected --data and --model"),
        (
            "train --data digits --model mnist-diagonal --out {new}",
            "expected images with 1 channels and 2 levels, .* 17 of digits",
        ),
        (
            "train --data photos --model row --conditional --out {new}",
            "expected a data set with labels for a conditional",
        ),
        ("train --data digits --model row --batch-size 9999 --out {new}", "expected a batch size from 1 to the 1445"),
        ("train --data digits --model row --ema 2 --out {new}", r"expected ema in \[0, 1\), got 2.0"),
        ("train --data digits --model row --binarisation static --out {new}", "expected no binarisation for digits"),
        (
            "train --data digits --model row --device cuda:77 --out {new}",
            "expected a device of this machine, got 'cuda:77'",
        ),
        ("train --data digits --model row --device meta --out {new}", "expected a device cpu, cuda or .*, got 'meta'"),
        ("train --data digits --model row --out {file}/new", "expected --out to be a folder, got {file}"),
        ("evaluate {trained} --gray", "expected no gray for digits, which does not take it"),
        ("sample {trained} --out {new} --size 200000x200000", "can't allocate memory.* you tried to allocate"),
        ("train --resume --out {new}", "expected a training to go on with in --out, got no checkpoint in {new}"),
        ("train --data digits --model row --out {file}", "expected --out to be a folder, got {file}"),
        (
            "evaluate {new}",
            "expected a checkpoint, the folder of a training, or a pretrained model of mnist5k-.*, got {new}, which is",
        ),
        ("evaluate /dev/null", "/dev/null cannot be read: "),
        ("evaluate {file}", "{file} is damaged or not a safetensors file"),
        (
            "evaluate {trained} --data photos",
            "expected images with 1 channels and 17 levels, .* got 3 and 256 of photos",
        ),
        ("evaluate {trained} --data folder:{new}", "expected a folder of images, got {new}"),
        (
            "sample {trained} --out {new}/x.png",
            "expected --out to name a file in a folder that exists, got {new}/x.png",
        ),
        ("sample {new} --out {new}.bmp", "expected a picture's name to end in .png, .*, .gif, got {new}.bmp"),
        ("complete {new} --out {new}.png.bak", "expected a picture's name to end in .*, got {new}.png.bak"),
        (
            "sample {trained} --out {new}.webp --count 300 --columns 1",
            "sides up to 16383, as WEBP .* of 19802x68: {new}",
        ),
        ("complete {trained} --out {new}.webp --count 99 --completions 300", "expected a picture of sides up to 16383"),
        ("sample {trained} --out {new} --label 11", "expected a class of 0, .*, 9, got '11'"),
        ("sample {trained} --out {new} --temperature -1", "temperature"),
        ("complete {trained} --out {new} --hide {file}", "{file} cannot be read as an image"),
        ("complete {trained} --out {new} --hide {mask}", "expected a mask of 8x8 pixels, .* got 9x8 in {mask}"),
        ("complete {trained} --out {new} --hide {new}.png", "{new}.png cannot be read as an image"),
    ],
)
def test_bad_input_is_one_sentence(trained, tmp_path, capsys, arguments, message):
    paths = {
        "new": tmp_path / "new",
        "file": tmp_path / "text.safetensors",
        "mask": tmp_path / "mask.png",
        "trained": trained[0],
    }
    paths["file"].write_text("a text, and no checkpoint")
    Image.new("L", (8, 9)).save(paths["mask"])
    sentence = refused(capsys, *(word.format(**paths) for word in arguments.split()))
    assert re.search(message.format(**paths), sentence), sentence
    assert not paths["new"].exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["train"],
        ["train", "--out", "x", "--steps", "0"],
        ["train", "--out", "x", "--steps", "2", "--epochs", "2"],
        ["sample", "x", "--out", "y", "--size", "0x4"],
        ["sample", "x", "--out", "y", "--seed", "99999999999999999999999"],
        ["train", "--out", "x", "--seed", "99999999999999999999999"],
        ["train", "--out", ""],
        ["train", "--out", "x", "--resume", "--overwrite"],
        ["sample", "x", "--out", ""],
        ["complete", "x", "--out", ""],
    ],
    ids=" ".join,
)
def test_wrong_options_say_the_usage(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2 and "usage: pixelrnn" in capsys.readouterr().err


def test_a_backend_that_cannot_run_is_one_sentence(tmp_path, capsys):
    assert train(tmp_path, "--backend", "resident") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("pixelrnn: ") and "resident" in line


def test_a_folder_that_cannot_be_written_to_is_found_first(trained, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != tmp_path)
    monkeypatch.setattr("pixelrnn_ext.training.data.load", None)
    expected = f"pixelrnn: expected --out in a folder that can be written to, got {tmp_path}"
    assert refused(capsys, "train", "--data", "digits", *MODEL, "--out", tmp_path / "new" / "er") == expected
    for command in ("sample", "complete"):
        assert refused(capsys, command, trained[0], "--out", tmp_path / "x.png") == expected


def test_ctrl_c_with_nothing_finished_keeps_the_old_picture(trained, tmp_path, capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(models.AutoregressiveModel, "sample", interrupted)
    picture = tmp_path / "grid.png"
    picture.write_text("old")
    for command in ("sample", "complete"):
        assert cli.main([command, str(trained[0]), "--out", str(picture)]) == 130
        assert picture.read_text() == "old" and "were finished" in capsys.readouterr().err


@pytest.mark.parametrize("key", ["data", "seed"])
def test_a_checkpoint_without_its_data_set_asks_for_it(trained, tmp_path, capsys, key):
    tensors, facts = checkpoint.load(trained[0] / checkpoint.LAST)
    del facts["arguments"][key]
    checkpoint.save(tmp_path / checkpoint.LAST, tensors, facts)
    if key == "data":
        assert "expected --data, since" in refused(capsys, "evaluate", tmp_path / checkpoint.LAST)
    assert "expected --" in refused(capsys, "train", "--resume", "--out", tmp_path)


@pytest.mark.parametrize("command", ["sample", "evaluate", "complete"])
def test_a_model_of_parameters_that_are_not_finite_is_refused(trained, tmp_path, capsys, command):
    tensors, facts = checkpoint.load(trained[0] / checkpoint.LAST)
    tensors["model.head.1.bias"][0] = torch.nan
    checkpoint.save(tmp_path / "nan.safetensors", tensors, facts)
    out = [] if command == "evaluate" else ["--out", tmp_path / "x.png"]
    sentence = refused(capsys, command, tmp_path / "nan.safetensors", *out)
    assert "expected a model of finite parameters, got others in head.1.bias" in sentence
    assert not (tmp_path / "x.png").exists()


def test_a_note_of_a_checkpoint_is_a_line(trained, tmp_path, capsys):
    """One of the first format, whose facts had no checksum."""
    with safetensors.safe_open(trained[0] / checkpoint.LAST, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}
        facts = json.loads(file.metadata()[checkpoint.KEY])
    facts["checksum"] = checkpoint._checksum(tensors)
    path = tmp_path / "old.safetensors"
    safetensors.torch.save_file(tensors, path, {checkpoint.KEY: json.dumps(facts)})
    assert cli.main(["evaluate", str(path)]) == 0
    printed = capsys.readouterr()
    assert printed.err == (
        f"pixelrnn: {path} is of the first format, whose checksum covers tensors alone: its facts (settings, step) are"
        " unchecked\n"
    )


def test_torchrun_says_an_error_once(tmp_path, capsys, monkeypatch):
    """As in its two processes, whose command can be repeated."""
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


def test_processes_end_quietly_where_the_first_one_cannot_load(tmp_path):
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "pixelrnn_ext"]
    command = ["train", "--data", "folder:nowhere", "--model", "row", "--device", "cpu", "--out", "x"]
    done = subprocess.run([sys.executable, *launcher, *command], cwd=tmp_path, capture_output=True, text=True)
    assert (
        done.stderr.count(f"expected a folder of images, got {tmp_path}/nowhere") == 1
        and "closed by peer" not in done.stderr
    )
    assert re.findall(r"exitcode +: (\d+)", done.stderr)[0] == "2"


def test_images_out_of_range(trained, capsys, monkeypatch):
    """A data set whose values the model cannot have."""
    from pixelrnn_ext.training import data

    load = data.load

    def broken(*args, **kwargs):
        loaded = load(*args, **kwargs)
        loaded.splits["test"].images[3] += 1
        loaded.splits["test"].images[3, 0, 0, 0] = 17
        return loaded

    monkeypatch.setattr(data, "load", broken)
    assert "expected images of integers in [0, 17)" in refused(capsys, "evaluate", trained[0])


def test_a_full_disk_while_training(tmp_path):
    """A limit of the operating system, in the middle of the file, in a process of its own."""
    script = """
import resource, sys
from pixelrnn_ext import cli
from pixelrnn_ext.training import checkpoint
out = sys.argv[1]
train = ["train", "--out", out, "--samples", "0"]
assert cli.main([*train, "--data", "digits", *sys.argv[2:], "--steps", "2"]) == 0
before = open(out + "/last.safetensors", "rb").read()
resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, resource.RLIM_INFINITY))
status = cli.main([*train, "--resume", "--steps", "4"])
assert open(out + "/last.safetensors", "rb").read() == before
sys.exit(status)
"""
    command = [sys.executable, "-c", script, str(tmp_path / "out"), *MODEL]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert re.search(
        r"best.safetensors could not be written \(File too large\); the one that was there is kept", done.stderr
    )


def board(out):
    """The scalars that TensorBoard shows of a folder: {name: {step: value}}; no step twice."""
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="the tensorboard extra brings it"
    )
    events = accumulator.EventAccumulator(str(out / "tensorboard"))
    events.Reload()
    scalars = {name: [(event.step, event.value) for event in events.Scalars(name)] for name in events.Tags()["scalars"]}
    assert all(len(dict(points)) == len(points) for points in scalars.values()), scalars
    return {name: dict(points) for name, points in scalars.items()}


@pytest.mark.sweep
def test_tensorboard_shows_the_log(tmp_path, monkeypatch):
    """After Ctrl-C, a resumption, a kill, after which steps are done again, and for a log that it was added to."""
    step = Training._step

    def shows_the_log():
        entries = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
        scalars = board(tmp_path)
        for event in ("train", "validation", "test"):
            logged = {e["step"]: pytest.approx(e["score"]) for e in entries if e["event"] == event}
            assert scalars.get(f"bits/dim/{event}", {}) == logged
        return scalars

    def ends(at, how):
        def interrupted(self, number):
            if number == at:
                how()
            return step(self, number)

        monkeypatch.setattr(Training, "_step", interrupted)

    pytest.importorskip("tensorboard", reason="the tensorboard extra brings it")
    assert train(tmp_path, "--steps", "30") == 0  # without
    ends(60, lambda: signal.raise_signal(signal.SIGINT))
    resume = ["train", "--out", str(tmp_path), "--resume", "--tensorboard", "--steps", "92"]
    assert cli.main(resume) == 130
    assert {25, 30, 50, 61} <= shows_the_log()["bits/dim/train"].keys()

    def crash():
        raise MemoryError

    ends(88, crash)
    assert cli.main(resume) == 2
    assert 75 in board(tmp_path)["bits/dim/train"]
    monkeypatch.setattr(Training, "_step", step)
    assert cli.main(resume[:4]) == 0  # it goes on, since it was asked for before
    scalars = shows_the_log()
    assert (
        list(scalars["bits/dim/test"]) == [92]
        and scalars["images per second"].keys() == scalars["bits/dim/train"].keys()
    )
    assert train(tmp_path, "--overwrite", "--steps", "1", "--tensorboard") == 0
    assert list(shows_the_log()["bits/dim/train"]) == [1]


def test_tensorboard_is_missed_before_the_work(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    monkeypatch.setattr("pixelrnn_ext.training.data.load", None)
    sentence = refused(capsys, "train", "--data", "digits", *MODEL, "--out", tmp_path / "new", "--tensorboard")
    assert "pip install tensorboard" in sentence and not (tmp_path / "new").exists()


def test_info_is_the_default(capsys):
    assert cli.main([]) == 0
    printed = capsys.readouterr().out
    assert cli.main(["info"]) == 0 and capsys.readouterr().out == printed and "why_no_cuda:" in printed


def test_info_names_what_a_bug_report_needs(capsys):
    assert cli.main(["info"]) == 0
    said = dict(re.split(": +", line, maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert said["system"].startswith(platform.system()) and said["python"] == platform.python_version()
    assert said["torch"] == torch.__version__ and "logical cores" in said["processor"]
    assert {"version", "gpus", "compiler", "instruction_set", "cuda"} <= said.keys()


def test_the_console_script(tmp_path):
    script = Path(sysconfig.get_path("scripts")) / "pixelrnn"
    done = subprocess.run([script, "evaluate", "nothing"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.endswith("got nothing, which is none of them\n")
