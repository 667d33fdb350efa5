"""Tests that px.causality finds planted leaks and blind spots with their pixels, and accuses nothing that is right."""

import copy
import pickle
import re

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import faulty_models as faults
import pixelrnn_ext as px
from faulty_models import later
from helpers.scans import LSTM2D, make_layer
from pixelrnn_ext.causality import CausalityError, check, receptive_field


@pytest.mark.parametrize("name", faults.LEAKS)
def test_a_leak_is_found_with_its_pixel(name):
    make, shape, options, pair = faults.LEAKS[name]
    torch.manual_seed(0)
    with pytest.raises(CausalityError) as raised:
        check(make(), shape, **options)
    report = raised.value.report
    assert report.leaks[0] == pair
    output, input = pair
    which = "its own value" if output == input else "which comes later"
    assert str(raised.value).startswith(f"output {output} changes with input {input}, {which}")


@pytest.mark.parametrize("name", faults.BLIND)
def test_a_blind_spot_is_reported_with_its_pixel(name):
    make, shape, options, pair = faults.BLIND[name]
    torch.manual_seed(0)
    report = check(make(), shape, **options)
    assert pair in report.blind_spots and report.leaks == []
    output, input = pair
    sentence = f"output {output} does not change with input {input}, which comes earlier"
    assert sentence in map(str, report.blind_spots)


@pytest.mark.parametrize("name", faults.CENTRE)
def test_public_implementations_see_as_much_as_readme_says(name):
    """The earlier pixels of the centre of a 7x7 map are the first 24."""
    make, shape, options, _ = (faults.LEAKS | faults.BLIND)[name]
    torch.manual_seed(0)
    field = check(make(), shape, raises=False, **options).seen_by((0, 3, 3)).flatten()
    assert (field[25:].sum(), 24 - field[:24].sum()) == faults.CENTRE[name]


def test_what_a_fault_does_not_touch_is_no_blind_spot():
    state = faults.RowState((-1, 0), (-1, 0, 1))
    assert ((0, 1, 0), (0, 0, 1)) not in check(state, (1, 4, 5), layout="features").blind_spots
    assert ((0, 1, 1), (0, 0, 3)) not in check(faults.GatedPixelCNN(), (1, 4, 5), layout="flat").blind_spots
    check(faults.left_neighbour_by_flat_index, (1, 4, 4), layout="features", mask="A")
    check(faults.conv(1, 2), (1, 4, 5), layout="features")  # masked once, and not trained


def wrong_pixels(shape, **fault):
    """Returns the pixels at which a SkewedLSTM differs from its layer."""
    torch.manual_seed(0)
    skewed, x = faults.SkewedLSTM(**fault).double(), torch.randn(2, 1, *shape, dtype=torch.float64)
    return ((skewed(x) - skewed.layer(x)).abs().amax((0, 1)) > 1e-12).nonzero().tolist()


@pytest.mark.parametrize("shape", [(5, 3), (4, 4), (3, 5)], ids=["5x3", "4x4", "3x5"])
def test_a_skewed_map_of_2w_minus_1_columns_is_wrong_for_h_more_than_w(shape):
    assert wrong_pixels(shape) == []
    wrong = [[3, 2], [4, 0], [4, 1], [4, 2]] if shape == (5, 3) else []
    assert wrong_pixels(shape, square=True) == wrong


def test_a_bias_in_the_skewed_padding_is_seen_by_comparison_alone():
    """It is a wrong value and no leak: each output sees what it should, so that a check of causality is content."""
    assert wrong_pixels((2, 3), bias_outside=True)[0] == [1, 0]
    faulty, right = (
        check(f, (1, 4, 5), layout="features") for f in (faults.SkewedLSTM(bias_outside=True), px.DiagonalLSTM(1, 2))
    )
    assert faulty.blind_spots == right.blind_spots


def test_models_of_others_are_right():
    for colours in (1, 3):
        check(faults.PixelCNN(colours), (colours, 6, 5), layout=faults.LEVELS)
    check(faults.GatedPixelCNN(), (1, 6, 5), layout="flat")


@pytest.mark.parametrize("variant", LSTM2D)
def test_the_cells_of_lstm2d_are_right(variant):
    check(make_layer(variant, directions=("tl",)), (2, 4, 5), layout="features", image_channels=1)
    order = torch.arange(20).flip(0).view(4, 5)
    check(make_layer(variant, directions=("br",)), (2, 4, 5), layout="features", image_channels=1, order=order)
    with pytest.raises(CausalityError):
        check(make_layer(variant, directions=("tl", "br")), (2, 4, 5), layout="features", image_channels=1)


def random_layer(source):
    """Draws a layer of this package with its input's shape and the options of check()."""

    def choose(*values):
        return values[int(torch.randint(len(values), (), generator=source))]

    colours = choose(1, 2, 3)
    channels, hidden = colours + choose(0, 1, 4), colours + choose(0, 1, 3)
    options = dict(image_channels=colours, backend=choose("native", "reference"))
    shape = channels, choose(1, 2, 3, 4), choose(1, 2, 3, 5)
    mask = "B"
    name = choose("row", "diagonal", "bilstm", "conv")
    if name == "row":
        layer = px.RowLSTM(channels, hidden, kernel_size=choose(1, 3, 5), **options)
    elif name == "diagonal":
        layer = px.DiagonalLSTM(channels, hidden, **options)
    elif name == "bilstm":
        layer = px.DiagonalBiLSTM(channels, hidden, **options)
    else:
        mask = choose("A", "B")
        layer = px.MaskedConv2d(channels, hidden, (choose(1, 3, 5), choose(1, 3, 7)), mask, **options)
    return layer, shape, dict(layout="features", image_channels=colours, mask=mask)


@pytest.mark.parametrize("seed", range(8))
def test_no_random_layer_is_accused(seed):
    source = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    for _ in range(25):
        layer, shape, options = random_layer(source)
        assert check(layer, shape, **options).leak_count == 0


class Unbackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, dy):
        raise RuntimeError("no")


class Remembering(nn.Module):
    """Adds the last pixels of its first images for ever."""

    def forward(self, x):
        self.first = getattr(self, "first", x.flip(3))
        return x + self.first


class Tiring(nn.Module):
    """Computes something else from its tenth call on, which is the first call with changed values."""

    calls = 0

    def forward(self, x):
        self.calls += 1
        return x if self.calls < 10 else 2 * x


class Uncopied(nn.Identity):
    def __deepcopy__(self, memo):
        raise RuntimeError("it holds a lock")


def raise_(error):
    raise error


ALONE = "expected f to compute each image of a batch alone, got maps of other images that depend on image"
NOT_CHECKED = {
    "raises": (lambda x: x[:, 5], "expected f to take images .*, but it raised IndexError"),
    "shape": (
        lambda x: x[..., 1:],
        r"expected f to return maps \(32, K >= 1, 3, 4\) for the layout 'features', got \(",
    ),
    "tuple": (lambda x: (x, x), "expected f to return a dense tensor, got tuple"),
    "NaN": (lambda x: x / 0 * 0, "expected f to return numbers, got NaN"),
    "dtype": (
        lambda x: x.float(),
        "expected f to return torch.float64, the dtype of its images, .*, got torch.float32",
    ),
    "differs": (nn.Sequential(nn.Dropout()), "expected f to return the same maps for the same images"),
    "batch": (nn.BatchNorm2d(1), ALONE),
    "first image": (lambda x: x + x[:1], f"{ALONE} 0:"),
    "last image": (lambda x: x + x[-1:], f"{ALONE} 31:"),
    "an image of another": (lambda x: torch.cat([x[:30], x[30:31] + x[7:8], x[31:]]), f"{ALONE} 7:"),
    "derivative of an image": (lambda x: x + 1e-20 * x[:1], f"{ALONE} 0:"),
    "memory of the first": (Remembering(), "expected f to return the same maps for the same images"),
    "another at the end": (Tiring(), "expected f to return the same maps for the same images"),
    "sparse": (lambda x: x.to_sparse(), "expected f to return a dense tensor, got torch.sparse_coo"),
    "exit": (lambda x: raise_(SystemExit(1)), "expected f to take images .*, but it raised SystemExit: 1"),
    "backward": (Unbackward.apply, "expected f to have derivatives, but its backward pass raised RuntimeError: no"),
    "no copy": (Uncopied(), "expected f to be a module that copy.deepcopy.. can copy, or a function"),
}


@pytest.mark.parametrize("name", NOT_CHECKED)
def test_what_cannot_be_checked_is_said_and_not_accused(name):
    """An error leaves a module's statistics as they were, too."""
    f, sentence = NOT_CHECKED[name]
    state = copy.deepcopy(f.state_dict()) if isinstance(f, nn.Module) else {}
    with pytest.raises(ValueError, match=f"^{sentence}"):
        check(f, (1, 3, 4), layout="features")
    assert all(torch.equal(before, f.state_dict()[key]) for key, before in state.items())


WRONG = {
    "layout": (dict(layout="levels"), "expected layout to be one of levels-first, flat, features, got 'levels'"),
    "mask": (dict(layout="flat", mask="C"), "expected mask_type to be 'A' or 'B', got 'C'"),
    "levels": (dict(layout="flat", dtype=torch.uint8), "expected levels for images of torch.uint8, got none"),
    "int8": (dict(layout="flat", dtype=torch.int8, levels=256), "expected at most 128 levels for images of torch.int8"),
    "bfloat16": (dict(layout="flat", dtype=torch.bfloat16, levels=258), "expected at most 257 levels for images of"),
    "colours": (dict(layout="flat", image_channels=2), "expected at least one channel for each of 2 image_channels"),
    "order": (dict(layout="flat", order=torch.zeros(3, 4).long()), r"expected order to be integers \(3, 4\), another"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments(name):
    options, sentence = WRONG[name]
    with pytest.raises(ValueError, match=sentence):
        check(nn.Identity(), (1, 3, 4), **options)


def test_random_numbers_and_the_module_stay_as_they_were():
    module = nn.Conv2d(1, 1, 1)
    state = torch.get_rng_state()
    check(module, (1, 3, 4), layout="features")
    assert torch.equal(state, torch.get_rng_state()) and module.weight.dtype == torch.float32
    assert module.weight.grad is None


def test_a_receptive_field_of_integers_and_of_real_numbers():
    layer = px.RowLSTM(1, 2)
    field = receptive_field(layer, (1, 4, 5), (0, 2, 2), layout="features")
    assert field[0].int().tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 1, 0], [0, 1, 1, 0, 0], [0, 0, 0, 0, 0]]
    embedding = nn.Embedding(4, 3)

    def embedded(x):
        return embedding.weight[x[:, 0]].permute(0, 3, 1, 2)

    field = receptive_field(embedded, (1, 2, 2), (0, 1, 0), layout="features", levels=4, dtype=torch.int64)
    assert field[0].int().tolist() == [[0, 0], [1, 0]]
    with pytest.raises(ValueError, match=re.escape("expected at to be (colour, row, column) in (1, 2, 2), got (0, 2,")):
        receptive_field(embedded, (1, 2, 2), (0, 2, 0), layout="features", levels=4, dtype=torch.int64)


@pytest.mark.parametrize(("seed", "is_whole"), [(3, True), (22, True), (20, False)])
def test_a_receptive_field_of_a_model_with_relus_that_are_off(seed, is_whole, recwarn):
    torch.manual_seed(seed)
    model = px.PixelCNN(image_channels=1, levels=2, hidden_channels=2, num_layers=1, head_channels=2)
    field = receptive_field(model, (1, 4, 5), (0, 3, 2), layout=faults.LEVELS, levels=2, dtype=torch.uint8).flatten()
    assert field[:17].all() == is_whole and field.any() and not field[17:].any()
    sentence = "the last of 64 images still showed new inputs of the output (0, 3, 2): the receptive field may have "
    assert [str(warning.message) for warning in recwarn] == [sentence + "more inputs"] * (not is_whole)


class LargestTensor(TorchDispatchMode):
    elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **kwargs or {})
        if isinstance(result, torch.Tensor):
            self.elements = max(self.elements, result.numel())
        return result


def test_a_receptive_field_needs_the_memory_of_one_batch():
    with LargestTensor() as largest:
        options = dict(layout="flat", levels=4, dtype=torch.uint8)
        receptive_field(lambda x: x.repeat(1, 16, 1, 1), (1, 16, 16), (0, 8, 8), **options)
    assert largest.elements == 32 * 16 * 16 * 16


def test_the_report_says_what_was_examined():
    report = check(nn.Conv2d(1, 1, 3, padding=1), (1, 20, 20), layout="features", raises=False)
    examined = "examined: derivatives of 64 of 400 outputs; changes of 65 of 400 inputs"
    assert str(report).splitlines()[-1] == examined
    places = {(row, column) for row in range(20) for column in range(20)}
    assert {(0, 0, 0), (0, 0, 19), (0, 19, 0)} <= {leak.output for leak in report.leaks} | {(0, 19, 19)}
    assert all((leak.input.row, leak.input.column) in places for leak in report.leaks)


def test_the_picture():
    report = check(nn.Conv2d(1, 1, 3, padding=1), (1, 3, 4), layout="features", raises=False)
    picture = report.picture((0, 1, 1), scale=4)
    assert picture.shape == (3, 12, 16) and picture.dtype == torch.uint8
    seen, leak, later, output = ((31, 119, 180), (214, 39, 40), (255, 255, 255), (0, 0, 0))
    corners = [tuple(picture[:, 4 * row, 4 * column].tolist()) for row, column in ((0, 0), (2, 0), (2, 3), (0, 3))]
    assert corners == [seen, leak, later, (255, 187, 120)]
    assert tuple(picture[:, 6, 6].tolist()) == output
    with pytest.raises(ValueError, match="expected an output .colour, row, column. in .1, 3, 4., got .0, 3, 0."):
        report.picture((0, 3, 0))


def test_a_leak_that_only_a_derivative_shows():
    report = check(lambda x: x + 1e-20 * later(x), (1, 3, 4), layout="features", raises=False)
    assert report.leak_count == 9 and "as derivatives alone show" in str(report)
    with torch.no_grad(), pytest.raises(CausalityError):
        check(lambda x: x + 1e-20 * later(x), (1, 3, 4), layout="features")


def test_a_far_leak_of_a_large_image_is_found_and_drawn():
    def far(x):
        y = x.clone()
        y[:, :, 1, 5] += x[:, :, -2, -3].round()
        return y

    with pytest.raises(
        CausalityError, match="^" + re.escape("output (0, 1, 5) changes with input (0, 26, 25), ")
    ) as raised:
        check(far, (1, 28, 28), layout="features")
    assert raised.value.report.leak_count == 1
    picture = raised.value.report.picture()
    assert tuple(picture[:, 26 * 8, 25 * 8].tolist()) == (214, 39, 40)


def test_a_leak_through_two_later_values_together():
    def both(x):
        y = x.clone()
        y[:, :, 0, 0] += (x[:, :, 2, 2] > 0) & (x[:, :, 2, 3] > 0)
        return y

    leaks = check(both, (1, 3, 4), layout="features", raises=False).leaks
    assert {leak.output for leak in leaks} == {(0, 0, 0)} and {leak.input for leak in leaks} <= {(0, 2, 2), (0, 2, 3)}


class Reusing(nn.Conv2d):
    """Returns the same memory from every call."""

    @torch.no_grad()
    def forward(self, x):
        if not hasattr(self, "memory"):
            self.memory = super().forward(x)
        return self.memory.copy_(super().forward(x))


class Complex(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1j]))

    def forward(self, x):
        return x + (self.weight * later(x) * self.weight.conj()).real


@pytest.mark.parametrize(
    "f", [Reusing(1, 2, 3, padding=1), Complex(), lambda x: later(x).mul_(2)], ids=["memory", "complex", "in-place"]
)
def test_a_leak_is_found_in_an_unusual_function(f):
    with pytest.raises(CausalityError, match=re.escape("output (0, 0, 0) changes with input (0, 0, 1), which")):
        check(f, (1, 3, 4), layout="features")


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("p", [0.1, 0.002])
def test_random_numbers_are_no_leak(p, seed):
    state = torch.get_rng_state()
    with pytest.raises(ValueError, match="^expected f to return the same maps for the same images"):
        check(nn.Dropout(p), (1, 3, 4), layout="features", mask="A", seed=seed)
    assert torch.equal(state, torch.get_rng_state())


def test_the_default_mask_is_that_of_the_layout():
    assert check(nn.Identity(), (1, 3, 4), layout="features").leak_count == 0
    for layout, f in (("flat", nn.Identity()), ("levels-first", lambda x: x[:, None])):
        assert check(f, (1, 3, 4), layout=layout, raises=False).leaks[0] == ((0, 0, 0), (0, 0, 0))


@pytest.mark.parametrize(
    ("layout", "shape", "expected"),
    [("flat", (1, 4, 3, 4), "3 * L"), ("levels-first", (1, 2, 1, 3, 4), "L, 3"), ("features", (1, 2, 3, 4), "K >= 3")],
)
def test_maps_that_do_not_fit_the_colours(layout, shape, expected):
    with pytest.raises(ValueError, match=re.escape(f"expected f to return maps (32, {expected}, 3, 4) for the layout")):
        check(lambda x: x.new_zeros(shape).expand(len(x), *shape[1:]), (3, 3, 4), layout=layout)


def test_what_is_not_seen_is_blind_only_where_it_was_changed():
    """A detached sum has no derivative, so a large image's inputs are seen only where they were changed."""

    def shifted(x):
        return nn.functional.pad(x.flatten(2), (1, 0))[..., :-1].view_as(x)

    def summed(x):
        return shifted(x) + shifted(x).detach().flatten(2).cumsum(2).view_as(x)

    assert check(summed, (1, 20, 20), layout="flat").blind_spot_count == 0
    everything = receptive_field(lambda x: shifted(x).detach().cumsum(3), (1, 2, 4), (0, 1, 3), layout="flat")
    assert everything[0].int().tolist() == [[0, 0, 0, 1], [1, 1, 1, 0]]


def test_an_error_crosses_processes():
    with pytest.raises(CausalityError) as raised:
        check(later, (1, 3, 4), layout="features")
    copied = pickle.loads(pickle.dumps(raised.value))
    assert str(copied) == str(raised.value) and copied.report.leaks == raised.value.report.leaks
