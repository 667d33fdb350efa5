import pytest
import torch

from helpers.checks import assert_all_close, assert_close, randn64
from helpers.scans import LSTM2D, each_kind, gate_bias_channels, make_layer, results
from pixelrnn_ext import reference

HEIGHT, WIDTH = 5, 7
SIZES = torch.tensor([(5, 7), (3, 6), (1, 7), (5, 1), (0, 4), (2, 0), (4, 2)])


def maps(n=7, channels=2):
    return randn64(n, channels, HEIGHT, WIDTH)


def outside(m, sizes):
    mask = torch.ones_like(m, dtype=torch.bool)
    for image, (h, w) in zip(mask, sizes.tolist()):
        image[..., :h, :w] = False
    return mask


CASES = [(name, {}) for name in ("row3", "row5", "diagonal", "diagonal-reverse", "bilstm")]
CASES += [(name, {"merge": None}) for name in LSTM2D]
CASES += [("stable", {"merge": merge}) for merge in ("concat", "sum", "mean")]


@pytest.mark.covering(2)
@pytest.mark.parametrize("poison", [torch.nan, torch.inf], ids=str)
@pytest.mark.parametrize("initial_state", ["zero", "learned"])
@pytest.mark.parametrize(("name", "merge"), CASES)
def test_an_image_is_as_if_it_were_alone(name, merge, initial_state, poison, backend):
    """An image of a batch must have the results that it has alone.

    Without compiled kernels the last bits may differ, because PyTorch multiplies larger matrices for a batch.
    """
    layer = make_layer(name, initial_state=initial_state, backend=backend, **merge)
    x, gate_bias = maps(), maps(7, gate_bias_channels(layer))
    dy = torch.randn_like(layer(x))
    poisoned = [m.masked_fill(outside(m, SIZES), poison) for m in (x, dy, gate_bias)]
    batch = results(layer, poisoned[0], SIZES, *poisoned[1:])
    total = {key: torch.zeros_like(p) for key, p in layer.named_parameters()}
    for n, (h, w) in enumerate(SIZES.tolist()):
        if h and w:
            cut = [m[n : n + 1, ..., :h, :w] for m in (x, dy, gate_bias)]
            alone = results(layer, cut[0], None, *cut[1:])
            for key in ("output", "input", "gate_bias"):
                got, expected = batch[key][n : n + 1, ..., :h, :w], alone.pop(key)
                assert torch.equal(got, expected) or backend == "auto", key
                assert_close(key, expected, got, 1e-13)
            for key, gradient in alone.items():
                total[key] += gradient
    maps_of_batch = {key: batch.pop(key) for key in ("output", "input", "gate_bias")}
    assert not any(m[outside(m, SIZES)].any() for m in maps_of_batch.values())
    assert_all_close(total, batch, 1e-13)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32], ids=str)
def test_sizes_are_of_any_integers(dtype, backend):
    layer = make_layer("stable", backend=backend)
    x = maps()
    assert torch.equal(layer(x, SIZES.to(dtype)), layer(x, SIZES))


@each_kind
def test_batches_of_nothing(name, backend):
    layer = make_layer(name, backend=backend)
    assert layer(maps(0), sizes=SIZES[:0]).shape == (0, 12 if name == "stable" else 3, HEIGHT, WIDTH)
    for value in results(layer, maps(2), torch.tensor([(0, 7), (5, 0)])).values():
        assert not value.any()


def test_strided_and_expanded_inputs(backend):
    layer = make_layer("stable", backend=backend)
    one = randn64(1, WIDTH, HEIGHT, 2).permute(0, 3, 2, 1).expand(3, -1, -1, -1)
    sizes = torch.stack([SIZES.t(), SIZES.t()], 2)[:, :3, 0].t()
    assert not one.is_contiguous() and not sizes.is_contiguous()
    got, expected = layer(one, sizes), layer(one.contiguous(), sizes.contiguous())
    # Without compiled kernels, PyTorch multiplies non-contiguous matrices with different code, so the last bits may
    # differ.
    assert torch.equal(got, expected) or backend == "auto"
    assert_close("output", expected, got, 1e-13)


def test_sizes_that_nobody_has_checked_are_clamped():
    """The host cannot check sizes in a GPU's memory, so sizes out of range are clamped."""
    layer = make_layer("stable", backend="reference")
    directions = [d.to(torch.float64) for d in layer._weights()]
    options = dict(cell="stable", corners=layer.directions)
    x = maps(3)
    got = reference.lstm2d(x, directions, sizes=torch.tensor([(9, 3), (-1, 4), (2, 100)]), **options)
    assert torch.equal(got, layer(x, torch.tensor([(5, 3), (0, 4), (2, 7)])))
