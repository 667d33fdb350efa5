import math

import pytest
import torch
from torch.distributions import Bernoulli, Categorical
from torch.testing import assert_close

from helpers.checks import native, opcheck_untraced, randn64
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


LEVELS = [2, 3, 16, 17, 40, 256]  # the kernels take 16 levels or more


@pytest.mark.parametrize("levels", LEVELS)
def test_log_prob_of_values(levels, instruction_set):
    logits, values = random_logits(levels)
    expected = independent_log_prob(logits, values)
    for layout in (torch.contiguous_format, torch.channels_last_3d):
        got = likelihood.log_prob(logits.contiguous(memory_format=layout), values.to(torch.uint8))
        assert_close(got, expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("scale", [1, 30])
@pytest.mark.parametrize("levels", [3, 17, 256])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=str)
def test_log_prob_and_its_gradient_are_rounded_once(dtype, levels, scale, instruction_set):
    """Sums and log-probabilities are float32. The gradient is rounded to the dtype of the logits."""
    logits, values = random_logits(levels, dtype)
    logits = (logits * scale).requires_grad_()
    exact = logits.detach().double().requires_grad_()
    got, expected = likelihood.log_prob(logits, values), independent_log_prob(exact, values)
    assert got.dtype == torch.float32
    assert_close(got.double(), expected, rtol=1e-6, atol=1e-6)
    (gradient,) = torch.autograd.grad(got, logits, torch.full_like(got, 3))
    (wanted,) = torch.autograd.grad(expected, exact, torch.full_like(expected, 3))
    assert gradient.dtype == dtype
    half_ulp = torch.finfo(dtype).eps / 2
    assert_close(gradient.double(), wanted, rtol=1.01 * half_ulp + 1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=str)
@pytest.mark.parametrize("levels", LEVELS)
def test_log_prob_of_values_is_finite_and_never_positive(levels, dtype, instruction_set):
    logits, values = random_logits(levels, dtype)
    for scale in (0, 1, 1e-3, 1e4):
        got = likelihood.log_prob(logits * scale, values)
        assert got.dtype == torch.float32 and got.isfinite().all() and (got <= 0).all()


@pytest.mark.parametrize("levels", [16, 20])
@pytest.mark.parametrize("place", [0, 9, -1])
def test_impossible_and_undefined_levels(levels, place, instruction_set):
    """A logit of -inf makes a level impossible. +inf or NaN makes the distribution undefined, as in PyTorch."""
    values = torch.tensor([[[[0, 9, levels - 1]]]])
    for special in (-INF, INF, math.nan):
        logits = torch.randn(1, levels, 1, 1, 3).requires_grad_()
        with torch.no_grad():
            logits[:, place] = special
        got = likelihood.log_prob(logits, values)
        expected = logits.log_softmax(1).gather(1, values[:, None]).squeeze(1)
        assert_close(got, expected, equal_nan=True)
        if special == -INF:
            got, expected = (torch.autograd.grad(y.clamp(min=-99).sum(), logits)[0] for y in (got, expected))
            assert_close(got, expected)
            assert (got[:, place] == 0).sum() >= 2  # exactly zero for the other values


def test_an_impossible_value_of_two_levels():
    logits = torch.full((1, 1, 1, 1, 2), -INF, requires_grad=True)
    got = likelihood.log_prob(logits, torch.tensor([[[[0, 1]]]]))
    assert got.tolist() == [[[[0, -INF]]]]
    assert not torch.autograd.grad(got[..., 0].sum(), logits)[0].any()


@pytest.mark.parametrize("levels", [2, 5, 17])
def test_log_prob_of_values_has_all_derivatives(levels):
    logits, values = random_logits(levels)
    logits, values = logits[:, :, :2, :2, :2].requires_grad_(), values[:, :2, :2, :2]

    def function(x):
        return likelihood.log_prob(x, values)

    assert torch.autograd.gradcheck(function, logits, check_forward_ad=True, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(function, logits, fast_mode=True)


@native
def test_operators_of_log_prob_take_bfloat16_on_every_processor(instruction_set):
    """On another processor than this one, an exported graph may call the operators in bfloat16."""
    ops = torch.ops.pixelrnn_ext
    logits, values, grad = torch.randn(2, 3, 40).bfloat16(), torch.randint(40, (2, 3)), torch.randn(2, 3)
    log_prob, normaliser = ops.log_prob(logits, values)
    assert_close(log_prob, logits.float().log_softmax(-1).gather(-1, values.unsqueeze(-1)).squeeze(-1))
    got = ops.log_prob_backward(grad, logits, values, normaliser)
    expected = ops.log_prob_backward(grad, logits.float(), values, normaliser)
    assert got.dtype == torch.bfloat16
    assert_close(got.float(), expected, rtol=2**-8, atol=0)


@native
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_operators_of_log_prob(dtype):
    ops = torch.ops.pixelrnn_ext
    logits, values = torch.randn(2, 3, 17).to(dtype).requires_grad_(), torch.randint(17, (2, 3))
    opcheck_untraced(ops.log_prob.default, (logits, values))
    grad, normaliser = (t.detach().requires_grad_() for t in ops.log_prob(logits, values))
    opcheck_untraced(ops.log_prob_backward.default, (grad, logits, values, normaliser.detach()))


@native
def test_vmap_of_log_prob_is_each_members():
    logits, values = randn64(3, 2, 17, 3, 4, 5), torch.randint(17, (3, 2, 3, 4, 5))
    gradient = torch.func.grad(lambda x, v: likelihood.log_prob(x, v).square().sum())
    got = torch.vmap(gradient)(logits, values)
    assert_close(got, torch.stack([gradient(x, v) for x, v in zip(logits, values)]))
    assert_close(torch.vmap(gradient, (0, None))(logits, values[0])[0], got[0])


@native
@pytest.mark.parametrize("levels", [16, 256])
def test_log_prob_keeps_no_map_but_the_logits(levels):
    """PyTorch's log_softmax would keep a map of its results."""
    logits, values = random_logits(levels, torch.float32)
    logits = logits.contiguous(memory_format=torch.channels_last_3d).requires_grad_()
    saved = {}
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.setdefault(t.data_ptr(), t), lambda t: t):
        likelihood.log_prob(logits, values)
    assert saved.pop(logits.data_ptr()).shape[-1] == levels
    assert sum(t.numel() for t in saved.values()) <= 3 * values.numel()


@native
def test_bits_of_log_prob_do_not_depend_on_the_threads(threads):
    logits = torch.randn(40, 2, 2, 1, 256).permute(0, 4, 3, 1, 2).requires_grad_()
    values = torch.randint(256, (40, 1, 2, 2))
    whole = likelihood.log_prob(logits, values)
    cotangent = torch.randn_like(whole)
    (gradient,) = torch.autograd.grad(whole, logits, cotangent)
    for i in range(0, 40, 13):
        part = likelihood.log_prob(logits[i : i + 1], values[i : i + 1])
        assert torch.equal(part, whole[i : i + 1])
        assert torch.equal(torch.autograd.grad(part, logits, cotangent[i : i + 1])[0][i], gradient[i])


@native
def test_operators_of_log_prob_refuse_what_they_cannot_read():
    ops = torch.ops.pixelrnn_ext
    logits, values = torch.randn(3, 16), torch.zeros(3, dtype=torch.int64)
    grad, normaliser = ops.log_prob(logits, values)
    for wrong, bad_logits, bad_values in (
        (r"expected values of integers in \[0, 16\), got 16", logits, values + 16),
        (r"expected values of integers in \[0, 16\), got -1", logits, values - 1),
        (r"with 16 levels or more, got \[3, 15\]", logits[:, :15], values),
        (r"expected values of shape \[3\], got \[2\]", logits, values[:2]),
        ("of dtype Long, got Int", logits, values.int()),
        ("got Half", logits.half(), values),
    ):
        with pytest.raises(RuntimeError, match=wrong):
            ops.log_prob(bad_logits, bad_values)
        with pytest.raises(RuntimeError, match=wrong):
            ops.log_prob_backward(grad, bad_logits, bad_values, normaliser)
    for wrong, operands in (
        (r"expected grad of shape \[3\], got \[2\]", (grad[:2], logits, values, normaliser)),
        (r"expected normaliser of shape \[3, 2\], got \[3, 1\]", (grad, logits, values, normaliser[:, :1])),
        ("expected grad of dtype Float, got Double", (grad.double(), logits, values, normaliser)),
    ):
        with pytest.raises(RuntimeError, match=wrong):
            ops.log_prob_backward(*operands)


@pytest.mark.parametrize("levels", [2, 17])
def test_values_of_another_shape_than_the_logits(levels):
    logits, values = random_logits(levels)
    with pytest.raises(ValueError, match=r"expected values of shape \(2, 3, 4, 5\), got \(1, 3, 4, 5\)"):
        likelihood.log_prob(logits, values[:1])


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


@pytest.mark.parametrize("temperature", [0, 1])
@pytest.mark.parametrize("logits", [[0.0, math.nan], [INF, 0.0], [-INF, -INF], [INF], [math.nan]], ids=str)
def test_no_value_is_drawn_from_probabilities_that_are_nan(logits, temperature):
    uniform = torch.zeros(2, dtype=torch.float64)
    with pytest.raises(FloatingPointError, match="^expected the logits to give probabilities, got NaN: "):
        likelihood.draw(torch.tensor([[0.0] * len(logits), logits]), uniform, temperature)


def test_draw_at_temperature_zero_is_the_most_likely_value():
    logits, uniform = torch.randn(2, 3, 5), torch.rand(2, 3, dtype=torch.float64)
    assert torch.equal(likelihood.draw(logits, uniform, 0), logits.argmax(-1))
    assert torch.equal(likelihood.draw(logits[..., :1], uniform, 0), (logits[..., 0] > 0).long())
