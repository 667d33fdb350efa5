import numpy
import pytest
import torch
from PIL import Image

from helpers.pictures import frames_of, names_in
from pixelrnn_ext import cli, sampling
from pixelrnn_ext.training import animation, files, grid

from .command_line import SIDE, error_of, pixelrnn, pixels_of


def test_sample_writes_a_grid(trained, tmp_path, capsys):
    out, _ = trained
    grids = []
    for name, more in {"all": [], "again": [], "other": ["--seed", "1"], "threes": ["--label", "3"]}.items():
        picture = tmp_path / f"{name}.png"
        pixelrnn("sample", out, "--out", picture, "--count", "6", "--batch-size", "4", *more)
        grids.append(pixels_of(picture))
    assert capsys.readouterr().out.splitlines()[0] == f"6 samples: {tmp_path / 'all.png'}"
    assert grids[0].shape == (2 * SIDE + 2, 3 * SIDE + 2, 3)
    assert (grids[0] == grids[1]).all() and (grids[0] != grids[2]).any() and (grids[0] != grids[3]).any()
    pixelrnn("sample", out, "--out", tmp_path / "size.png", "--count", "1", "--size", "5x16")
    assert pixels_of(tmp_path / "size.png").shape == (5 * 4, 16 * 4, 3)


def test_sample_writes_single_pictures_and_arrays(trained, tmp_path, capsys):
    draw = "sample", trained[0], "--count", "11", "--batch-size", "4", "--out"
    pixelrnn(*draw, tmp_path / "grid.png")
    pixelrnn(*draw, f"{tmp_path / 'single'}/")
    pixelrnn(*draw, tmp_path / "samples.npz")
    pixelrnn(*draw, tmp_path / "threes.npz", "--label", "3")
    assert capsys.readouterr().out.splitlines()[1] == f"11 samples: {tmp_path / 'single'}"
    cells = pixels_of(tmp_path / "grid.png")[2:, 2:, 0].reshape(3, SIDE, 4, SIDE).swapaxes(1, 2).reshape(12, SIDE, SIDE)
    assert names_in(tmp_path / "single") == [f"{number:02}.png" for number in range(11)]
    single = numpy.stack([pixels_of(tmp_path / f"single/{number:02}.png")[..., 0] for number in range(11)])
    assert (single == cells[:11, 4:64:8, 4:64:8]).all()
    with numpy.load(tmp_path / "samples.npz") as arrays:
        images, labels = arrays["images"], arrays["labels"]
    assert images.dtype == numpy.uint8 and images.shape == (11, 1, 8, 8)
    assert (numpy.round(images[:, 0] * 255.0 / 16) == single).all() and labels.tolist() == [*range(10), 0]
    with numpy.load(tmp_path / "threes.npz") as arrays:
        assert arrays["labels"].tolist() == [3] * 11


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("--out full", "expected --out to be a new or an empty folder, got full"),
        ("--out full/", "expected --out to be a new or an empty folder, got full"),
        ("--out new/ --animate", "expected --animate with one picture, got --out new"),
        ("--out new.npz --columns 3", "expected --columns with one picture, got --out new.npz"),
        ("--out none/new.npz", "expected --out to name a file in a folder that exists, got none/new.npz"),
    ],
)
def test_what_sample_does_not_write(trained, tmp_path, monkeypatch, capsys, more, expected):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    assert error_of(capsys, "sample", trained[0], *more.split()) == expected
    assert names_in(tmp_path) == ["full"]


@pytest.mark.parametrize("channels", [1, 3])
def test_gray_margins_separate_the_images_of_a_grid(channels):
    images = torch.rand(5, channels, 32, 9, generator=torch.Generator().manual_seed(0))
    expected = torch.full((3 * 66 + 2, 2 * 20 + 2, 3), 128)
    for number, image in enumerate(images):
        top, left = 2 + number // 2 * 66, 2 + number % 2 * 20
        pixels = (255 * image).round().permute(1, 2, 0).int()
        expected[top : top + 64, left : left + 18] = pixels.repeat_interleave(2, 0).repeat_interleave(2, 1)
    assert (grid.picture(images, 2) == expected.numpy()).all()
    assert (grid.picture(images[:2], 7) == expected[:68].numpy()).all()
    assert (grid.picture(images[:1], 2) == expected[2:66, 2:20].numpy()).all()


@pytest.mark.parametrize(
    ("hide", "rows", "columns"),
    [
        ("lower-half", slice(4, 8), slice(8)),
        ("left-half", slice(8), slice(4)),
        ("box", slice(2, 6), slice(2, 6)),
        ("mask.png", slice(1, 3), slice(5, 8)),
    ],
)
def test_complete_keeps_what_is_shown(trained, tmp_path, monkeypatch, capsys, hide, rows, columns):
    """The picture shows a row of original images, a row of their visible parts, and rows of completions."""
    monkeypatch.chdir(tmp_path)
    hidden, picture = numpy.zeros((8, 8), bool), tmp_path / "completed.png"
    hidden[rows, columns] = True
    hidden[7, 0] |= hide == "mask.png"
    Image.fromarray(hidden).save("mask.png")
    pixelrnn("complete", trained[0], "--out", picture, "--count", "3", "--completions", "2", "--hide", hide)
    # Only below the lower half, nothing is visible that the model does not see.
    note = "note: pixels below or to the right of a hidden pixel have no influence on it, "
    assert capsys.readouterr().err.count(note) == (hide != "lower-half")
    pixels = pixels_of(picture)[2:, 2:, 0]
    originals, shown, *completions = pixels.reshape(4, SIDE, 3, SIDE)[:, 4:64:8, :, 4:64:8].transpose(0, 2, 1, 3)
    assert (shown[:, hidden] == 128).all() and (shown[:, ~hidden] == originals[:, ~hidden]).all()
    assert all((completion[:, ~hidden] == originals[:, ~hidden]).all() for completion in completions)
    assert any((completion[:, hidden] != originals[:, hidden]).any() for completion in completions)


def test_the_suffix_of_out_is_the_format(trained, tmp_path):
    formats = {"a.png": "PNG", "b.PNG": "PNG", "c": "PNG", "d.webp": "WEBP", "e.jpg": "JPEG"}
    for name, expected in formats.items():
        picture = tmp_path / name
        pixelrnn("sample", trained[0], "--out", picture, "--count", "1", "--size", "2x2")
        with Image.open(picture) as opened:
            assert opened.format == expected
        assert abs(pixels_of(picture) - pixels_of(tmp_path / "a.png")).max() <= (2 if name == "e.jpg" else 0)


@pytest.mark.parametrize("command", ["sample", "complete"])
def test_a_gif_shows_pixels_as_they_are_drawn(trained, tmp_path, command):
    still, moving = tmp_path / "a.png", tmp_path / "a.gif"
    for out in ([still], [moving], [tmp_path / "b", "--animate"]):
        pixelrnn(command, trained[0], "--count", "2", "--out", *out)
    assert (tmp_path / "b").read_bytes() == moving.read_bytes()
    frames, durations = zip(*frames_of(moving))
    with Image.open(moving) as opened:
        assert opened.info["loop"] == 0 and durations[-1] == 2000
    final = pixels_of(still)
    assert (frames[-1] == final).all() and 20 < len(frames) <= 65
    top = 0 if command == "sample" else 2 * SIDE  # the completions lie below two rows of other images
    first = slice(top + 6, top + SIDE, 8), slice(6, SIDE, 8), 0
    whole = final[first].flatten()
    for number, frame in enumerate(frames):
        part = frame[first].flatten()
        changed = (part != whole).nonzero()[0]
        drawn = changed.min(initial=64)
        assert (part[changed] == 128).all() and (part[:drawn] == whole[:drawn]).all()
        assert number < len(frames) - 1 or not len(changed)


@pytest.mark.parametrize(
    ("name", "place", "at"),
    [
        ("a.png", (grid, "picture"), 1),
        ("a.gif", (animation, "picture"), 1),
        ("a.gif", (animation.Gif, "add"), 1),
        ("a.gif", (animation.Gif, "add"), 5),
        ("a.png", (files, "_replace"), 1),
        ("a.gif", (files, "_replace"), 1),
    ],
)
def test_ctrl_c_in_writing_waits_for_the_finished_images(trained, tmp_path, capsys, interrupt, name, place, at):
    draw, path = ["sample", str(trained[0]), "--count", "2", "--out"], tmp_path / name
    pixelrnn(*draw, tmp_path / "still.png")
    interrupt(*place, at)
    assert cli.main([*draw, str(path)]) == 130
    assert capsys.readouterr().err.splitlines()[-1] == f"interrupted; 2 finished samples are in {path}"
    still = pixels_of(tmp_path / "still.png")
    if name == "a.png":
        assert (pixels_of(path) == still).all()
    else:
        frames = frames_of(path)
        assert (frames[-1][0] == still).all() and (place[0] is not animation.Gif or len(frames) == at + 1)


def test_nothing_is_printed_behind_a_picture_on_the_standard_output(trained, capfdbinary):
    pixelrnn("sample", trained[0], "--out", "-", "--count", "1", "--size", "2x2")
    printed = capfdbinary.readouterr()
    assert printed.out.startswith(b"\x89PNG") and printed.out[-8:-4] == b"IEND"
    plan, done = printed.err.decode().splitlines()
    assert plan.startswith("drawing: ") and done == "1 samples: /dev/stdout"


@pytest.mark.parametrize("batches", [0, 2])
@pytest.mark.parametrize("command", ["sample", "complete"])
def test_ctrl_c_in_sampling_keeps_what_is_finished(trained, tmp_path, capsys, interrupt, command, batches):
    interrupt(sampling.Sampler, "draw", at=batches + 1)
    picture, what = tmp_path / "grid.png", "samples" if command == "sample" else "completions"
    picture.write_text("old")
    assert cli.main([command, str(trained[0]), "--out", str(picture), "--count", "8", "--batch-size", "2"]) == 130
    kept = f"4 finished {what} are in {picture}" if batches else f"no {what} were finished"
    assert capsys.readouterr().err.splitlines()[-1] == f"interrupted; {kept}"
    if batches:
        assert len(pixels_of(picture)) == (2 if command == "sample" else 5) * SIDE + 2
    else:
        assert picture.read_text() == "old"
