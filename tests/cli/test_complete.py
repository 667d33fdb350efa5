"""``pixelrnn complete``: hidden parts of images are drawn, and nothing else."""

import numpy
import pytest
from PIL import Image

from .command_line import pixelrnn


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
    pixelrnn(*arguments)
    pixels = numpy.array(Image.open(picture))[..., 0]
    grid = pixels[2:, 2:].reshape(4, 66, 3, 66)[:, 4:64:8, :, 4:64:8].transpose(0, 2, 1, 3)
    originals, shown, *completions = grid
    assert (shown[:, hidden] == 128).all() and (shown[:, ~hidden] == originals[:, ~hidden]).all()
    assert all((completion[:, ~hidden] == originals[:, ~hidden]).all() for completion in completions)
    assert any((completion[:, hidden] != originals[:, hidden]).any() for completion in completions)
