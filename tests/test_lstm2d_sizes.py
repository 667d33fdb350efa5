"""Images of unlike sizes in one batch: each is as if it were alone, and what lies outside reaches nothing."""

import pytest
import torch

from checks import assert_close
from lstm2d import BACKENDS, VARIANTS, make_layer, results
from pixelrnn_ext import reference

HEIGHT, WIDTH = 5, 7
SIZES = torch.tensor([(5, 7), (3, 6), (1, 7), (5, 1), (0, 4), (2, 0), (4, 2)])


def maps(n=7):
    return torch.randn(n, 2, HEIGHT, WIDTH, dtype=torch.float64)


def outside(m, sizes):
    """Where a map (N, ..., H, W) is none of its image's."""
    mask = torch.ones_like(m, dtype=torch.bool)
    for image, (h, w) in zip(mask, sizes.tolist()):
        image[..., :h, :w] = False
    return mask


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("initial_state", ["zero", "learned"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_an_image_is_as_if_it_were_alone(variant, initial_state, backend):
    """To the bit, output and gradient of the input; the parameters' gradients are sums over the images."""
    layer = make_layer(variant, initial_state=initial_state, merge=None, backend=backend)
    x, dy = maps(), torch.randn(len(SIZES), 4, 3, HEIGHT, WIDTH, dtype=torch.float64)
    together = results(layer, x, SIZES, dy)
    total = {name: torch.zeros_like(p) for name, p in layer.named_parameters()}
    for n, (h, w) in enumerate(SIZES.tolist()):
        if h and w:
            alone = results(layer, x[n : n + 1, :, :h, :w], None, dy[n : n + 1, ..., :h, :w])
            assert torch.equal(together["output"][n : n + 1, ..., :h, :w], alone.pop("output"))
            assert torch.equal(together["input"][n : n + 1, :, :h, :w], alone.pop("input"))
            for name, gradient in alone.items():
                total[name] += gradient
    for name, gradient in total.items():
        assert_close(name, gradient, together[name], 1e-14)
    for name in ("output", "input"):
        assert not together[name][outside(together[name], SIZES)].any()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("poison", [torch.nan, torch.inf], ids=str)
@pytest.mark.parametrize("merge", ["concat", "sum", "mean", None])
def test_what_is_outside_does_not_matter(merge, poison, backend):
    """Neither in the input nor in the gradient of the output."""
    layer = make_layer("stable", merge=merge, backend=backend)
    x = maps()
    dy = torch.randn_like(layer(x, SIZES))
    want = results(layer, x, SIZES, dy)
    got = results(layer, x.masked_fill(outside(x, SIZES), poison), SIZES, dy.masked_fill(outside(dy, SIZES), poison))
    for name, value in want.items():
        assert torch.equal(got[name], value), name


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_full_sizes_are_none(variant, backend):
    layer = make_layer(variant, backend=backend)
    x = maps(3)
    with_sizes = results(layer, x, torch.tensor([(HEIGHT, WIDTH)] * 3))
    for name, value in results(layer, x).items():
        assert_close(name, value, with_sizes[name], 1e-14)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_order_of_images_does_not_matter(backend):
    layer = make_layer("stable", backend=backend)
    x, order = maps(), torch.randperm(len(SIZES))
    assert torch.equal(layer(x[order], SIZES[order]), layer(x, SIZES)[order])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32], ids=str)
def test_sizes_are_of_any_integers(dtype, backend):
    layer = make_layer("stable", backend=backend)
    x = maps()
    assert torch.equal(layer(x, SIZES.to(dtype)), layer(x, SIZES))


@pytest.mark.parametrize("backend", BACKENDS)
def test_batches_of_nothing(backend):
    """Of no image, and of empty ones alone."""
    layer = make_layer("stable", backend=backend)
    assert layer(maps(0), SIZES[:0]).shape == layer(maps(0)).shape == (0, 12, HEIGHT, WIDTH)
    for value in results(layer, maps(2), torch.tensor([(0, 7), (5, 0)])).values():
        assert not value.any()


@pytest.mark.parametrize("backend", BACKENDS)
def test_strided_and_expanded_inputs(backend):
    layer = make_layer("stable", backend=backend)
    one = torch.randn(1, WIDTH, HEIGHT, 2, dtype=torch.float64).permute(0, 3, 2, 1).expand(3, -1, -1, -1)
    sizes = torch.stack([SIZES.t(), SIZES.t()], 2)[:, :3, 0].t()
    assert not one.is_contiguous() and not sizes.is_contiguous()
    assert torch.equal(layer(one, sizes), layer(one.contiguous(), sizes.contiguous()))


def test_sizes_that_nobody_has_checked_are_clamped():
    """As those on a GPU, which are not read."""
    layer = make_layer("stable", backend="reference")
    directions = [d.to(torch.float64) for d in layer._weights()]
    options = dict(cell="stable", corners=layer.directions)
    x = maps(3)
    got = reference.lstm2d(x, directions, sizes=torch.tensor([(9, 3), (-1, 4), (2, 100)]), **options)
    assert torch.equal(got, layer(x, torch.tensor([(5, 3), (0, 4), (2, 7)])))


class Reader(torch.nn.Module):
    """Text lines of unlike widths: (N, 1, H, W) and sizes to what nn.CTCLoss takes."""

    def __init__(self, classes):
        super().__init__()
        self.lstm = make_layer("stable", 1, 8, initial_state="zero")
        self.head = torch.nn.Linear(32, classes, dtype=torch.float64)

    def forward(self, images, sizes):
        y = self.lstm(images, sizes)  # zero outside, so a sum over rows is one over the image's own
        return self.head(y.sum(2).transpose(1, 2)).log_softmax(-1).transpose(0, 1), sizes[:, 1]


@pytest.mark.sweep
@pytest.mark.parametrize("backend", BACKENDS)
def test_lines_of_unlike_widths_are_memorised_by_ctc(backend):
    """In float64, so that every processor learns alike."""
    classes, widths = 4, torch.tensor([6, 9, 12, 7, 10, 8, 11, 12])
    images = torch.randn(8, 1, 4, 12, dtype=torch.float64)
    sizes = torch.stack([torch.full_like(widths, 4), widths], 1)
    targets, lengths = torch.randint(1, classes, (8, 3)), torch.full((8,), 3)
    model = Reader(classes)
    model.lstm.backend = backend
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(60):
        log_probabilities, steps = model(images, sizes)
        loss = torch.nn.functional.ctc_loss(log_probabilities, targets, steps, lengths)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    read = [torch.unique_consecutive(model(images, sizes)[0].argmax(-1)[:w, n]) for n, w in enumerate(widths)]
    assert [r[r > 0].tolist() for r in read] == targets.tolist(), loss
