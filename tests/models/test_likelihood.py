import math

import pytest
import torch
from torch.distributions import Bernoulli, Categorical
from torch.testing import assert_close

from helpers.checks import randn64
from helpers.models import all_images, each_colours, each_model, make_model, random_images
from pixelrnn_ext import likelihood

ONE = 1 - 2.0**-53  # the largest random number in [0, 1)
INF = math.inf


def random_logits(levels, dtype=torch.float64):
    values = torch.randint(levels, (2, 3, 4, 5))
    return torch.randn(2, likelihood.logit_channels(levels), 3, 4, 5, dtype=dtype), values


def independent_log_prob(logits, values):
    if logits.shape[1] == 1:
        return Bernoulli(logits=logits[:, 0]).log_prob(values.to(logits.dtype))
    return Categorical(logits=logits.permute(0, 2, 3, 4, 1)).log_prob(values)


@pytest.mark.parametrize("levels", [2, 3, 256])
def test_log_prob_of_values(levels):
    logits, values = random_logits(levels)
    expected = independent_log_prob(logits, values)
    for layout in (torch.contiguous_format, torch.channels_last_3d):
        got = likelihood.log_prob(logits.contiguous(memory_format=layout), values.to(torch.uint8))
        assert_close(got, expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=str)
@pytest.mark.parametrize("levels", [2, 256])
def test_log_prob_of_values_is_finite_and_never_positive(levels, dtype):
    logits, values = random_logits(levels, dtype)
    for scale in (0, 1, 1e-3, 1e4):
        got = likelihood.log_prob(logits * scale, values)
        assert got.dtype == torch.float32 and got.isfinite().all() and (got <= 0).all()


@pytest.mark.parametrize("levels", [2, 5])
def test_log_prob_of_values_has_a_gradient(levels):
    logits, values = random_logits(levels)
    logits = logits[..., :2, :2].requires_grad_()
    assert torch.autograd.gradcheck(lambda x: likelihood.log_prob(x, values[..., :2, :2]), logits)


@pytest.mark.covering(1)
@pytest.mark.parametrize(
    "wiring",
    [{}, dict(skip=True), dict(residual=False), dict(residual=False, skip=True), dict(condition_channels=2)],
    ids=str,
)
@pytest.mark.parametrize(("levels", "colours", "size"), [(2, 1, (2, 3)), (3, 2, (2, 2))], ids=str)
@each_model
def test_probabilities_of_all_images_sum_to_one(name, levels, colours, size, wiring):
    if name.startswith("multiscale"):
        size = 2, 4 if size == (2, 3) else 2
    model = make_model(name, levels=levels, image_channels=colours, scale=2, **wiring)
    condition = randn64(1, 2, *size) if model.condition_channels else None
    with torch.no_grad():
        log_prob = model.log_prob(all_images(levels, colours, *size), condition)
    assert (log_prob <= 0).all() and log_prob.std() > 0.01
    assert abs(log_prob.exp().sum().item() - 1) <= 1e-10


@each_colours
@each_model
def test_log_prob_and_bits_per_dim_of_images(name, colours):
    model = make_model(name, colours)
    images = random_images(model, 3)
    log_prob = model.log_prob(images)
    expected = independent_log_prob(model(images), images).sum((1, 2, 3))
    assert_close(log_prob, expected, rtol=1e-13, atol=0)
    assert_close(model.log_prob(images[1:2])[0], log_prob[1], rtol=1e-13, atol=0)
    bits = model.bits_per_dim(images)
    assert_close(bits * images[0].numel() * math.log(2), -log_prob.mean(), rtol=1e-13, atol=0)


# Four equally likely values. Their cumulative distribution has steps at exactly 1/4, 1/2 and 3/4.
UNIFORM_OVER_4 = [0.0, 0.0, 0.0, 0.0]


# {case: (logits, random number in [0, 1), value that is drawn with this number)}
DRAWS = {
    "zero": (UNIFORM_OVER_4, 0, 0),
    "before-a-step": (UNIFORM_OVER_4, 0.25 - 2**-54, 0),
    "at-a-step": (UNIFORM_OVER_4, 0.25, 1),
    "at-the-last-step": (UNIFORM_OVER_4, 0.75, 3),
    "close-to-one": (UNIFORM_OVER_4, ONE, 3),
    "never-an-impossible-first-value": ([-INF, 0.0, 0.0], 0, 1),
    "never-an-impossible-middle-value": ([0.0, -INF, 0.0], 0.5, 2),
    "never-an-impossible-last-value": ([0.3, -0.2, -INF, -INF], ONE, 1),
    "large-logits": ([1000.0, 0.0], ONE, 0),
    "bernoulli-before-its-step": ([0.0], 0.5 - 2**-54, 0),
    "bernoulli-at-its-step": ([0.0], 0.5, 1),
    "bernoulli-impossible": ([-INF], ONE, 0),
}


@pytest.mark.parametrize(("logits", "uniform", "value"), DRAWS.values(), ids=DRAWS)
def test_draw_at_the_steps_of_the_distribution(logits, uniform, value):
    drawn = likelihood.draw(torch.tensor(logits), torch.tensor(uniform, dtype=torch.float64), 1)
    assert drawn.dtype == torch.int64 and drawn.item() == value


@pytest.mark.parametrize("temperature", [0.5, 1, 2])
@pytest.mark.parametrize("levels", [2, 3, 256])
def test_draw_has_the_frequencies_of_the_distribution(levels, temperature):
    """The test draws with n evenly spaced numbers instead of n random numbers.

    A value's frequency therefore differs from its probability by at most 1/n.
    """
    n = 20_000
    logits = torch.randn(likelihood.logit_channels(levels))
    values = likelihood.draw(logits.expand(n, -1), (torch.arange(n, dtype=torch.float64) + 0.5) / n, temperature)
    scores = torch.cat([logits.new_zeros(1), logits]) if levels == 2 else logits
    expected = (scores.double() / temperature).softmax(0)
    assert ((values.bincount(minlength=levels) / n - expected).abs() <= 1.001 / n).all()
    assert (values.diff() >= 0).all()


def test_draw_at_temperature_zero_is_the_most_likely_value():
    logits, uniform = torch.randn(2, 3, 5), torch.rand(2, 3, dtype=torch.float64)
    assert torch.equal(likelihood.draw(logits, uniform, 0), logits.argmax(-1))
    assert torch.equal(likelihood.draw(logits[..., :1], uniform, 0), (logits[..., 0] > 0).long())
