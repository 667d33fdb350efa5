"""What ``pixelrnn sample`` and ``complete`` have in common: formats, animations, pipes, Ctrl-C."""

import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy
import pytest
from PIL import Image

from pixelrnn_ext import cli, models
from pixelrnn_ext.training import animation, files, gif, grid

from .command_line import refused


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


@pytest.mark.parametrize("command", ["sample", "complete"])
def test_animate_is_what_a_gif_is(trained, tmp_path, command):
    """Under a name that does not say so, too."""
    draw = [command, str(trained[0]), "--count", "1", "--out"]
    names = {"a.gif": [], "b.gif": ["--animate"], "c": ["--animate"]}
    contents = []
    for name, more in names.items():
        assert cli.main([*draw, str(tmp_path / name), *more]) == 0
        contents.append((tmp_path / name).read_bytes())
    assert contents[0].startswith(b"GIF89a") and contents[1:] == contents[:1] * 2


def test_ctrl_c_in_writing_an_animation_keeps_the_finished_images(trained, tmp_path, capsys, monkeypatch):
    add, calls = gif.Gif.add, []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            signal.raise_signal(signal.SIGINT)
        add(*arguments)

    draw = ["sample", str(trained[0]), "--count", "2", "--out"]
    assert cli.main([*draw, str(tmp_path / "a.png")]) == 0
    monkeypatch.setattr(gif.Gif, "add", interrupted)
    path = tmp_path / "a.gif"
    assert cli.main([*draw, str(path)]) == 130
    assert capsys.readouterr().err == f"interrupted; 2 finished samples are in {path}\n"
    with Image.open(path) as moving, Image.open(tmp_path / "a.png") as still:
        assert moving.n_frames == 3
        moving.seek(2)
        assert (numpy.array(moving.convert("RGB")) == numpy.array(still)).all()


def interrupted(function):
    def run(*arguments):
        signal.raise_signal(signal.SIGINT)
        return function(*arguments)

    return run


@pytest.mark.parametrize("name", ["a.png", "a.gif"])
@pytest.mark.parametrize("where", ["the last frame", "the file"])
def test_ctrl_c_at_the_end_waits_for_the_file(trained, tmp_path, capsys, monkeypatch, where, name):
    path = tmp_path / name
    places = [(grid, "picture"), (animation, "picture")] if where == "the last frame" else [(files, "_replace")]
    for module, function in places:
        monkeypatch.setattr(module, function, interrupted(getattr(module, function)))
    assert cli.main(["sample", str(trained[0]), "--count", "2", "--out", str(path)]) == 130
    assert capsys.readouterr().err == f"interrupted; 2 finished samples are in {path}\n"
    with Image.open(path) as opened:
        opened.load()


def test_a_picture_into_a_pipe_and_the_standard_output(trained, tmp_path, capfd):
    """Nothing else is printed behind it; the pipe is none the less one afterwards."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as reader:
        content = reader.submit(pipe.read_bytes)
        assert cli.main(["sample", str(trained[0]), "--out", str(pipe), "--count", "1", "--size", "2x2"]) == 0
        assert content.result().startswith(b"\x89PNG") and pipe.is_fifo()
    assert capfd.readouterr() == ("", f"1 samples: {pipe}\n")


@pytest.mark.parametrize("package", ["PIL.Image", "torchvision.utils"])
@pytest.mark.parametrize("command", ["sample", "complete"])
def test_a_package_that_a_picture_needs_is_missed_before_the_work(capsys, tmp_path, monkeypatch, package, command):
    monkeypatch.setitem(sys.modules, package, None)
    assert package in refused(capsys, command, "nothing", "--out", tmp_path / "x.png")


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


def test_ctrl_c_with_nothing_finished_keeps_the_old_picture(trained, tmp_path, capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(models.AutoregressiveModel, "sample", interrupted)
    picture = tmp_path / "grid.png"
    picture.write_text("old")
    for command in ("sample", "complete"):
        assert cli.main([command, str(trained[0]), "--out", str(picture)]) == 130
        assert picture.read_text() == "old" and "were finished" in capsys.readouterr().err
