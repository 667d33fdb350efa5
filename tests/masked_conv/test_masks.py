import pytest
import torch

from helpers.oracle import colour, masked
from pixelrnn_ext.masks import causal_mask, colour_groups, masked_weight


@pytest.mark.parametrize(("channels", "colours"), [(1, 1), (3, 3), (5, 3), (128, 3), (7, 2)])
def test_groups_are_those_of_tensor_split(channels, colours):
    assert colour_groups(channels, colours).tolist() == [colour(i, channels, colours) for i in range(channels)]


@pytest.mark.parametrize("mask_type", ["A", "B"])
@pytest.mark.parametrize("kernel", [1, 3, 7, (1, 3), (3, 1), (5, 3)], ids=str)
@pytest.mark.parametrize(("units", "channels", "colours"), [(3, 3, 3), (5, 4, 3), (2, 2, 1), (8, 7, 2)])
@pytest.mark.parametrize("gates", [1, 4])
def test_every_element(mask_type, kernel, units, channels, colours, gates):
    height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
    mask = causal_mask(mask_type, gates * units, channels, kernel, image_channels=colours, gates=gates)
    assert torch.equal(mask, masked(torch.ones(gates * units, channels, height, width), mask_type, colours, gates))


def test_masked_weight_keeps_the_live_weights_and_drops_a_nan_that_is_masked():
    weight = torch.randn(4, 2, 1, 3)
    weight[..., 2] = float("nan")
    got = masked_weight(weight, "B", gates=4)
    assert torch.equal(got[..., :2], weight[..., :2]) and not got[..., 2].any()
    assert masked_weight(weight, None) is weight


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("C", 1, 1, 3), {}, "expected mask_type to be 'A' or 'B', got 'C'"),
        (("A", 1, 1, 4), {}, "expected an odd kernel_size, got 4"),
        (("A", 6, 1, 3), dict(gates=4), "expected out_channels divisible by 4 gates, got 6"),
        (("A", 2, 3, 3), dict(image_channels=3), "at least one channel for each of 3"),
        (("A", 2, 3, 3), dict(image_channels=0), "expected image_channels >= 1, got 0"),
    ],
)
def test_errors(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        causal_mask(*arguments, **options)
