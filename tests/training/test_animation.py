"""Tests animations, which show an image's pixels in the order in which a model draws them."""

import io
from itertools import pairwise
from pathlib import Path

import numpy
import pytest
import torch

from helpers.pictures import frames_of
from pixelrnn_ext import models
from pixelrnn_ext.training import animation
from pixelrnn_ext.training.animation import Gif

SIZES = dict(image_channels=1, levels=2, hidden_channels=4, num_layers=1, head_channels=4)
NOTHING = torch.zeros(1, 1, 4, 6, dtype=torch.bool)


@pytest.fixture(params=["PixelRNN", "MultiScalePixelRNN"])
def model(request):
    return getattr(models, request.param)("row", **SIZES)


@pytest.mark.parametrize("hidden", ["everything", "a box"])
def test_a_pixel_follows_all_that_it_depends_on(model, hidden):
    known = torch.ones_like(NOTHING)
    known[..., 1:3, 2:5] = False
    known = NOTHING if hidden == "everything" else known
    order = animation.drawing_order(model, known)
    assert sorted(order.tolist()) == (~known).flatten().nonzero().flatten().tolist()
    images = torch.randint(2, (1, 1, 4, 6))
    with torch.no_grad():
        before = model(images).flatten()
        for number, pixel in enumerate(order.tolist()):
            images.view(-1)[pixel] ^= 1
            changed = (model(images).flatten() != before).nonzero().flatten().tolist()
            assert not set(changed) & set(order[: number + 1].tolist())
            images.view(-1)[pixel] ^= 1


@pytest.mark.parametrize(("pixels", "frames"), [(0, 1), (1, 2), (100, 101), (101, 52), (784, 99)])
def test_frames_are_equal_steps_and_no_more_than_there_may_be(pixels, frames):
    before, images = torch.zeros(2, 1, 28, 28), torch.ones(2, 1, 28, 28)
    drawn = [int(frame[1].sum()) for frame in animation.frames(before, images, torch.arange(pixels))]
    assert len(drawn) == frames <= animation.FRAMES + 1
    assert drawn[0] == 0 and drawn[-1] == pixels and len({b - a for a, b in pairwise(drawn[:-1])}) <= 1


def test_colours_and_the_time_of_a_frame(tmp_path):
    images = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])[:, :, None, None].expand(2, 3, 2, 2)
    path = tmp_path / "a.GIF"
    assert animation.is_animation(path) and not animation.is_animation(Path("a.png"))
    animation.write_animation(path, torch.full_like(images, 0.5), images, torch.arange(4), 2)
    frames, durations = zip(*frames_of(path))
    assert durations == (50, 50, 50, 50, 2000)
    assert frames[-1][20, 20].tolist() == [255, 0, 0] and frames[-1][20, 90].tolist() == [0, 0, 255]


LEVELS = numpy.arange(256, dtype=numpy.uint8).reshape(16, 16)
GRAY = numpy.full_like(LEVELS, 7)
PIXEL = GRAY.copy()
PIXEL[3, 5] = 9
COLOURS = numpy.stack([LEVELS // 64 * 64, LEVELS % 4, GRAY], 2)


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param([GRAY, PIXEL], id="a pixel"),
        pytest.param([PIXEL, PIXEL], id="nothing"),
        pytest.param([LEVELS[::-1], LEVELS], id="all levels"),
        # A GIF could mark the unchanged middle row as transparent, but all 256 colours are in use.
        pytest.param([numpy.insert(part, 8, 7, 0) for part in (LEVELS[::-1], LEVELS)], id="all levels but in a row"),
        pytest.param([numpy.zeros_like(COLOURS), COLOURS, COLOURS[::-1]], id="colours"),
    ],
)
def test_a_gif_shows_its_frames(frames):
    gif = Gif()
    for number, frame in enumerate(frames):
        gif.add(frame, 10 * (number + 1))
    got, durations = zip(*frames_of(io.BytesIO(gif.finish())))
    assert durations == tuple(10 * (number + 1) for number in range(len(frames)))
    for frame, pixels in zip(frames, got):
        assert (pixels == (frame if frame.ndim == 3 else frame[..., None])).all()


def test_a_stop_before_the_first_frame_leaves_the_last(tmp_path):
    images, path = torch.ones(1, 1, 8, 8), tmp_path / "a.gif"
    animation.write_animation(path, torch.zeros_like(images), images, torch.arange(64), 1, lambda: True)
    ((pixels, _),) = frames_of(path)
    assert (pixels[2:66, 2:66] == 255).all()
