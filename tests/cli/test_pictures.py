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

from .command_line import pixelrnn, refused


def test_the_suffix_of_out_is_the_format(trained, tmp_path):
    pixels = {}
    for name, format in {"a.png": "PNG", "b.PNG": "PNG", "c": "PNG", "d.webp": "WEBP", "e.jpg": "JPEG"}.items():
        picture = tmp_path / name
        pixelrnn("sample", trained[0], "--out", picture, "--count", "1", "--size", "2x2")
        with Image.open(picture) as opened:
            assert opened.format == format
            pixels[name] = numpy.array(opened).astype(int)
    for name, got in pixels.items():
        assert abs(got - pixels["a.png"]).max() <= (2 if name == "e.jpg" else 0)


@pytest.mark.parametrize("command", ["sample", "complete"])
def test_a_gif_shows_pixels_as_they_are_drawn(trained, tmp_path, command):
    still, moving = tmp_path / "a.png", tmp_path / "a.gif"
    for picture in (still, moving):
        pixelrnn(command, trained[0], "--out", picture, "--count", "2")
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
        pixelrnn(*draw, tmp_path / name, *more)
        contents.append((tmp_path / name).read_bytes())
    assert contents[0].startswith(b"GIF89a") and contents[1:] == contents[:1] * 2


@pytest.mark.parametrize(
    ("name", "place", "at"),
    [
        ("a.png", (grid, "picture"), 1),
        ("a.gif", (animation, "picture"), 1),
        ("a.gif", (gif.Gif, "add"), 2),
        ("a.png", (files, "_replace"), 1),
        ("a.gif", (files, "_replace"), 1),
    ],
)
def test_ctrl_c_in_writing_waits_for_the_finished_images(trained, tmp_path, capsys, monkeypatch, name, place, at):
    """But not for all frames of an animation."""
    draw, path = ["sample", trained[0], "--count", "2", "--out"], tmp_path / name
    pixelrnn(*draw, tmp_path / "still.png")
    function, calls = getattr(*place), []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == at:
            signal.raise_signal(signal.SIGINT)
        return function(*arguments)

    monkeypatch.setattr(*place, interrupted)
    capsys.readouterr()
    assert cli.main([*map(str, draw), str(path)]) == 130
    assert capsys.readouterr().err == f"interrupted; 2 finished samples are in {path}\n"
    with Image.open(path) as moving, Image.open(tmp_path / "still.png") as still:
        assert place[0] is not gif.Gif or moving.n_frames == 3
        if name == "a.gif":
            moving.seek(moving.n_frames - 1)
        assert (numpy.array(moving.convert("RGB")) == numpy.array(still)).all()


def test_a_picture_into_a_pipe_and_the_standard_output(trained, tmp_path, capfd):
    """Nothing else is printed behind it; the pipe is none the less one afterwards."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as reader:
        content = reader.submit(pipe.read_bytes)
        pixelrnn("sample", trained[0], "--out", pipe, "--count", "1", "--size", "2x2")
        assert content.result().startswith(b"\x89PNG") and pipe.is_fifo()
    assert capfd.readouterr() == ("", f"1 samples: {pipe}\n")


@pytest.mark.parametrize("package", ["PIL.Image", "torchvision.utils"])
@pytest.mark.parametrize("command", ["sample", "complete"])
def test_a_package_that_a_picture_needs_is_missed_before_the_work(capsys, tmp_path, monkeypatch, package, command):
    monkeypatch.setitem(sys.modules, package, None)
    assert package in refused(capsys, command, "nothing", "--out", tmp_path / "x.png")


@pytest.mark.parametrize("batches", [0, 2])
@pytest.mark.parametrize("command", ["sample", "complete"])
def test_ctrl_c_in_sampling_keeps_what_is_finished(trained, tmp_path, capsys, monkeypatch, command, batches):
    """Where nothing is, the picture that was there before stays."""
    sample, calls = models.AutoregressiveModel.sample, []

    def interrupted(self, *args, **kwargs):
        calls.append(args)
        if len(calls) > batches:
            raise KeyboardInterrupt
        return sample(self, *args, **kwargs)

    monkeypatch.setattr(models.AutoregressiveModel, "sample", interrupted)
    picture, what = tmp_path / "grid.png", "samples" if command == "sample" else "completions"
    picture.write_text("old")
    assert cli.main([command, str(trained[0]), "--out", str(picture), "--count", "8", "--batch-size", "2"]) == 130
    kept = f"4 finished {what} are in {picture}" if batches else f"no {what} were finished"
    assert capsys.readouterr().err.splitlines()[-1] == f"interrupted; {kept}"
    if batches:
        assert numpy.array(Image.open(picture)).shape[0] == (2 if command == "sample" else 5) * 66 + 2
    else:
        assert picture.read_text() == "old"
