import re
from pathlib import Path

import pytest
import torch
from PIL import Image

import class_conditional
import drop_in
from helpers.root import ROOT


def test_every_example_is_run():
    sources = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    names = {path.stem for path in ROOT.glob("examples/*.py")}
    assert names and names <= set(re.findall(r"^ *import (\w+)$", sources, re.MULTILINE))


def test_the_rectangles_of_drop_in_are_labelled_inside():
    images, inside = drop_in.rectangles(40, 12, torch.Generator().manual_seed(0))
    # The pixels of a rectangle's outline are 1 plus noise with a standard deviation of 0.3. All other pixels are only
    # noise.
    outlines = images > 0.65
    assert images.shape == inside.shape == (40, 1, 12, 12)
    assert 0.05 < inside.mean() < 0.5 and not inside[:, :, [0, -1]].any() and not inside[..., [0, -1]].any()
    assert outlines[inside.bool()].float().mean() < 0.2, "an outline is inside where rectangles overlap, and only there"


@pytest.mark.sweep
def test_drop_in_gains_from_the_context_that_a_layer_sees():
    scores = drop_in.main(["--steps", "120", "--side", "24"])
    convolutions, lstms = scores.values()
    assert lstms > convolutions + 0.05


@pytest.mark.sweep
def test_class_conditional_reads_digits_by_their_likelihoods(tmp_path):
    right = class_conditional.main(["--out", str(tmp_path / "x.png"), "--steps", "150"])
    assert right > 0.5  # guessing is right with probability 0.1
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.size == (8 * 66 + 2, 10 * 66 + 2)


@pytest.mark.sweep
def test_lightning_trains_a_model():
    pytest.importorskip("lightning", reason="the test extra brings lightning, which is not installed here")
    import lightning_module

    one, three = (lightning_module.main(["--epochs", epochs]) for epochs in ("1", "3"))
    # A model that learned nothing would take log2(17), about 4.1 bits per pixel.
    assert three < one - 0.1 and one < 3.5
