"""Images of unlike sizes in one batch: each is as if it were alone, and what lies outside reaches nothing."""

import itertools

import pytest
import torch

from helpers.checks import assert_close
from helpers.scans import BACKENDS, LSTM2D, make_layer, results
from pixelrnn_ext import reference

HEIGHT, WIDTH = 5, 7
SIZES = torch.tensor([(5, 7), (3, 6), (1, 7), (5, 1), (0, 4), (2, 0), (4, 2)])
PIXELRNN = ["row3", "row5", "diagonal", "diagonal-reverse", "bilstm"]


def maps(n=7, channels=2):
    return torch.randn(n, channels, HEIGHT, WIDTH, dtype=torch.float64)


def gate_bias_of(layer, n=7):
    rows = sum(p.shape[0] for name, p in layer.named_parameters() if name.startswith("weight_hh"))
    return maps(n, rows)


def outside(m, sizes):
    """Where a map (N, ..., H, W) is none of its image's."""
    mask = torch.ones_like(m, dtype=torch.bool)
    for image, (h, w) in zip(mask, sizes.tolist()):
        image[..., :h, :w] = False
    return mask


@pytest.mark.covering(2)
@pytest.mark.parametrize("initial_state", ["zero", "learned"])
@pytest.mark.parametrize("name", [*PIXELRNN, *LSTM2D])
def test_an_image_is_as_if_it_were_alone(name, initial_state, backend):
    """To the bit, output and gradients of the maps; the parameters' gradients are sums over the images.

    The decomposition has products of other shapes for an image alone, so their last bits differ.
    """
    merge = {"merge": None} if name in LSTM2D else {}
    layer = make_layer(name, initial_state=initial_state, backend=backend, **merge)
    x, gate_bias = maps(), gate_bias_of(layer)
    dy = torch.randn_like(layer(x))
    together = results(layer, x, SIZES, dy, gate_bias)
    total = {key: torch.zeros_like(p) for key, p in layer.named_parameters()}
    for n, (h, w) in enumerate(SIZES.tolist()):
        if h and w:
            cut = [m[n : n + 1, ..., :h, :w] for m in (x, dy, gate_bias)]
            alone = results(layer, cut[0], None, *cut[1:])
            for key in ("output", "input", "gate_bias"):
                got, expected = together[key][n : n + 1, ..., :h, :w], alone.pop(key)
                assert torch.equal(got, expected) or backend == "auto", key
                assert_close(key, expected, got, 1e-13)
            for key, gradient in alone.items():
                total[key] += gradient
    for key, gradient in total.items():
        assert_close(key, gradient, together[key], 1e-13)
    for key in ("output", "input", "gate_bias"):
        assert not together[key][outside(together[key], SIZES)].any(), key


def check_equal(name, expected, got, backend):
    """To the bit, unless products of other shapes are computed: without kernels."""
    if backend in ("native", "reference"):
        assert torch.equal(expected, got), name
    else:
        assert_close(name, expected, got, 1e-14)


@pytest.mark.parametrize("poison", [torch.nan, torch.inf], ids=str)
@pytest.mark.parametrize(
    ("name", "merge"),
    [*((name, {}) for name in PIXELRNN), *(("stable", {"merge": m}) for m in ("concat", "sum", "mean", None))],
)
def test_what_is_outside_does_not_matter(name, merge, poison, backend):
    """In the input, the gate_bias and the gradient of the output."""
    layer = make_layer(name, backend=backend, **merge)
    x, gate_bias = maps(), gate_bias_of(layer)
    dy = torch.randn_like(layer(x, sizes=SIZES))
    want = results(layer, x, SIZES, dy, gate_bias)
    x, dy, gate_bias = (m.masked_fill(outside(m, SIZES), poison) for m in (x, dy, gate_bias))
    for key, value in results(layer, x, SIZES, dy, gate_bias).items():
        check_equal(key, want[key], value, backend)


class Network(torch.nn.Module):
    """log p of binary images (N, 1, H, W), each in the top left corner of its map."""

    def __init__(self, first, second, backend):
        super().__init__()
        self.first = make_layer(first, 1, 4, mask_type="A", backend=backend)
        self.second = make_layer(second, 4, 4, backend=backend)
        self.head = torch.nn.Conv2d(4, 1, 1, dtype=torch.float64)

    def forward(self, images, sizes=None):
        logits = self.head(self.second(self.first(images, sizes=sizes), sizes=sizes))
        of_pixels = -torch.nn.functional.binary_cross_entropy_with_logits(logits, images, reduction="none")
        return of_pixels if sizes is None else of_pixels.masked_fill(outside(of_pixels, sizes), 0)


@pytest.mark.parametrize("layers", [("row3", "bilstm"), ("row5", "diagonal"), ("row3", "row5")], ids="+".join)
def test_the_likelihood_of_every_image(layers, backend):
    """An image has the likelihood that it has alone. Those of all images of 2 x 2 pixels add up to 1 in any padding."""
    network = Network(*layers, backend)
    x = maps(7, 1).gt(0).double()
    for n, ((h, w), log_p) in enumerate(zip(SIZES.tolist(), network(x, SIZES).sum((1, 2, 3)))):
        if h and w:
            torch.testing.assert_close(log_p, network(x[n : n + 1, :, :h, :w]).sum(), rtol=1e-13, atol=0)
    every = torch.tensor(list(itertools.product((0.0, 1.0), repeat=4)), dtype=torch.float64).view(16, 1, 2, 2)
    x = torch.nn.functional.pad(every, (0, 2, 0, 1), value=1)
    p = network(x, torch.full((16, 2), 2)).sum((1, 2, 3)).exp()
    torch.testing.assert_close(p.sum().item(), 1.0, rtol=1e-13, atol=0)
    assert p.unique().numel() == 16


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32], ids=str)
def test_sizes_are_of_any_integers(dtype, backend):
    layer = make_layer("stable", backend=backend)
    x = maps()
    assert torch.equal(layer(x, SIZES.to(dtype)), layer(x, SIZES))


@pytest.mark.parametrize("name", ["row3", "bilstm", "stable"])
def test_batches_of_nothing(name, backend):
    """A batch without images, and one of empty images alone."""
    layer = make_layer(name, backend=backend)
    assert layer(maps(0), sizes=SIZES[:0]).shape == (0, 12 if name == "stable" else 3, HEIGHT, WIDTH)
    for value in results(layer, maps(2), torch.tensor([(0, 7), (5, 0)])).values():
        assert not value.any()


def test_strided_and_expanded_inputs(backend):
    layer = make_layer("stable", backend=backend)
    one = torch.randn(1, WIDTH, HEIGHT, 2, dtype=torch.float64).permute(0, 3, 2, 1).expand(3, -1, -1, -1)
    sizes = torch.stack([SIZES.t(), SIZES.t()], 2)[:, :3, 0].t()
    assert not one.is_contiguous() and not sizes.is_contiguous()
    assert torch.equal(layer(one, sizes), layer(one.contiguous(), sizes.contiguous()))


def test_sizes_that_nobody_has_checked_are_clamped():
    """The host does not read sizes on a GPU, so nobody checks them."""
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
