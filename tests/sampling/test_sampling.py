import copy
import re
from functools import partial

import pytest
import torch

from helpers.checks import assert_close, native
from helpers.models import COLOURS, WIRED_MODELS, all_images, generator, make_model, random_images
from pixelrnn_ext import likelihood, sampling
from pixelrnn_ext.incremental.eager import EagerRow
from pixelrnn_ext.incremental.native import NativeRow
from pixelrnn_ext.incremental.rows import Rows
from pixelrnn_ext.incremental.steps import Draw
from pixelrnn_ext.operators import columns, library

BACKENDS = ["auto", "reference"]
BAD = [torch.nan, torch.inf]  # logits that make probabilities NaN
NETWORKS = [
    ("row", "PixelRNN"),
    ("pixelcnn", "PixelCNN"),
    ("multiscale-diagonal", "MultiScalePixelRNN.small_model"),
    ("multiscale-diagonal", "MultiScalePixelRNN.large_model"),
]

# Largest errors relative to the largest float64 logit. A logit sums about 1000 products, so its error is about
# sqrt(1000) = 32 units of rounding, which is 32 * 2^-24 = 2e-6 in float32.
RATIO = {torch.float64: 1e-12, torch.float32: 2e-6}


def full_logits(model, images, condition=None):
    """Returns float64 logits, since torch's float32 results differ between processors."""
    with torch.no_grad():
        return copy.deepcopy(model).double()(images, condition if condition is None else condition.double())


def draw_with(sampler, model, condition, given, known):
    draws = sampling.checked_draws(model, 3, (model.image_channels, 4, 6), generator(), 1.0, given, known)
    with torch.no_grad():
        return model._draw(sampler, draws, condition)


@pytest.mark.covering(2)
@pytest.mark.parametrize(
    ("height", "width", "backend"),
    [(4, 6, "auto"), (4, 2, "reference"), (2, 8, "auto")],
    ids=["4x6", "4x2-reference", "2x8"],
)
@pytest.mark.parametrize("condition", [None, "label", "map"])
@pytest.mark.parametrize("colours", COLOURS)
@pytest.mark.parametrize("name", WIRED_MODELS)
def test_incremental_logits(name, colours, condition, height, width, backend):
    for dtype, n in ((torch.float64, 1), (torch.float64, 16), (torch.float32, 16)):
        if backend == "reference" and n == 16 and dtype == torch.float64:
            continue
        model = make_model(name, colours, dtype, backend=backend, condition_channels=0 if condition is None else 3)
        images = random_images(model, n, height, width)
        size = {None: None, "label": (n, 3, 1, 1), "map": (n, 3, height, width)}[condition]
        given = None if size is None else torch.randn(size, generator=generator(), dtype=dtype)
        full, got = full_logits(model, images, given), model.incremental_logits(images, given)
        assert got.dtype == dtype
        # A logit is a sum that includes the bias. If the terms of the sum cancel, the logit is small, but its rounding
        # error is still in proportion to the bias.
        networks = [model] if hasattr(model, "head") else [model.small_model, model.large_model]
        rounding = 2 * torch.finfo(dtype).eps * max(network.head[-1].bias.abs().max() for network in networks)
        assert (got - full).abs().max() <= RATIO[dtype] * full.abs().max() + rounding


@pytest.mark.parametrize(
    ("dtype", "size", "hidden"),
    [
        *((torch.float64, (2, *size), 5) for size in [(1, 1), (1, 5), (5, 1), (9, 8)]),
        # Some layers are wider than a block of packed weights, or no multiple of the SIMD vector.
        *((torch.float32, (7, 3, 4), hidden) for hidden in (16, 33, 70)),
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["row", "diagonal", "pixelcnn"])
def test_incremental_logits_of_narrow_and_tall_images_and_of_wide_layers(name, dtype, size, hidden):
    model = make_model(name, "rgb", dtype, hidden_channels=hidden, head_channels=2 * hidden)
    images = random_images(model, *size)
    assert_close("logits", full_logits(model, images), model.incremental_logits(images), RATIO[dtype])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_instruction_sets(instruction_set, threads, dtype):
    model = make_model("diagonal", "rgb", dtype, hidden_channels=21)
    images = random_images(model, 5, 3, 4)
    got = model.incremental_logits(images)
    assert_close("logits", full_logits(model, images), got, RATIO[dtype])
    torch.set_num_threads(1)
    if dtype == torch.float64:  # torch's float32 products may depend on the number of threads
        torch.testing.assert_close(model.incremental_logits(images), got, rtol=0, atol=1e-14)


KNOWN = {
    "upper half": (..., slice(2), slice(None)),
    "box": (..., slice(1, 3), slice(2, 5)),
    "one colour": (slice(None), 0),
}


@pytest.mark.covering(1)
@pytest.mark.parametrize("known", [None, *KNOWN])
@pytest.mark.parametrize("colours", COLOURS)
@pytest.mark.parametrize("name", WIRED_MODELS)
def test_all_samplers_draw_the_same_images(name, colours, known):
    models = {backend: make_model(name, colours, backend=backend, condition_channels=2) for backend in BACKENDS}
    condition = 5 * torch.randn(3, 2, 4, 6, dtype=torch.float64)
    given, mask = None, None
    if known:
        given = random_images(models["auto"], 3)
        mask = torch.zeros(given.shape, dtype=torch.bool)
        mask[KNOWN[known]] = True
    samplers = [(sampling.naive, "auto"), (sampling.cropped, "auto"), *((sampling.incremental, b) for b in BACKENDS)]
    naive, *others = (draw_with(sampler, models[backend], condition, given, mask) for sampler, backend in samplers)
    assert all(torch.equal(other, naive) for other in others)
    if known:
        assert torch.equal(naive[mask], given[mask])
        assert mask.all() or not torch.equal(naive, given)


@pytest.mark.covering(1)
@pytest.mark.parametrize(("known", "limit"), [(0, 37.7), (2, 16.3)], ids=["new images", "upper half known"])
@pytest.mark.parametrize("temperature", [0.5, 1.0])
@pytest.mark.parametrize("name", ["row", "diagonal", "pixelcnn", "multiscale-diagonal"])
def test_frequencies_are_the_models_probabilities(name, temperature, known, limit):
    """A right sampler exceeds the chi-square `limit` once in 1000 runs."""
    model, n, images = make_model(name), 20000, all_images()
    images = images[(images.flatten(1)[:, :known] == torch.tensor([1, 0])[:known]).all(1)]
    with torch.no_grad():
        logits = model(images) / temperature
        expected = n * likelihood.log_prob(logits, images).sum((1, 2, 3)).softmax(0)
    options = dict(given=images[:1], known=(torch.arange(4) < known).view(2, 2)) if known else {}
    samples = model.sample(n, (1, 2, 2), generator=generator(), temperature=temperature, **options)
    counts = (samples[:, None] == images).all((2, 3, 4)).sum(0)
    assert counts.sum() == n and ((counts - expected) ** 2 / expected).sum() < limit


def test_the_most_likely_value_at_temperature_0():
    model = make_model("diagonal", "rgb")
    images = model.sample(2, (3, 3, 4), temperature=0)
    with torch.no_grad():
        assert torch.equal(model(images).argmax(1), images)


def test_randomness_is_one_uniform_tensor_of_the_generator():
    draw = partial(make_model("row", "rgb").sample, 2, (3, 3, 4))
    used, expected = generator(3), generator(3)
    images = draw(generator=used)
    torch.rand(2, 3, 3, 4, dtype=torch.float64, generator=expected)
    assert torch.equal(used.get_state(), expected.get_state())
    assert torch.equal(images, draw(generator=generator(3)))
    assert not torch.equal(images, draw(generator=generator(4)))
    torch.manual_seed(3)
    assert torch.equal(images, draw())


@pytest.mark.parametrize("runner", [EagerRow, NativeRow])
@pytest.mark.parametrize("temperature", [0.0, 0.3, 1.0])
@pytest.mark.parametrize(("levels", "logits"), [(2, 1), (3, 3), (256, 256)])
def test_draw_step(runner, temperature, levels, logits):
    rows = Rows(images=9, width=11, margin=1, dtype=torch.float64, device=torch.device("cpu"))
    buffers = {
        name: rows.buffer(2, dtype)
        for name, dtype in dict(uniform=torch.float64, known=torch.bool, values=torch.int64, image=None).items()
    }
    all_logits = rows.buffer(2 * logits).normal_(std=3)
    all_logits[3] = 0
    all_logits[4, :, ::2] = -torch.inf if logits > 1 else 0
    all_logits[7, :, 0] = all_logits[8, :, -1] = torch.nan
    all_logits[9, :, 0], all_logits[10] = torch.inf, -torch.inf
    uniform = buffers["uniform"].uniform_()
    uniform[5], uniform[6] = 0, 1 - 2**-53
    scaled = torch.linspace(-1, 1, levels, dtype=torch.float64)
    buffers["known"][2:, :3] = True
    buffers["values"][2:, :3] = levels - 1
    draws = [Draw(all_logits, scaled=scaled, colour=k, temperature=temperature, **buffers) for k in range(2)]
    runner(rows, draws).run()
    expected = likelihood.draw_or_mark(all_logits.unflatten(2, (2, logits)), uniform, temperature)
    expected[buffers["known"]] = levels - 1
    assert torch.equal(buffers["values"][1:], expected[1:])
    assert torch.equal(buffers["image"][1:], scaled[expected[1:]])
    assert not buffers["values"][:1].any()


@pytest.mark.covering(1)
@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("bad", BAD, ids=str)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("name", "network"), NETWORKS)
def test_probabilities_of_nan_are_refused(name, network, backend, bad, temperature):
    model = make_model(name, "rgb", backend=backend)
    _, *part = network.split(".")
    model.get_submodule(*part or [""]).head[-1].bias.data[1] = bad
    size = 2, (3, 4, 4)
    known = dict(given=torch.zeros(1, dtype=torch.int64), known=torch.ones(1, dtype=torch.bool))
    draws = sampling.checked_draws(model, *size, None, temperature, None, None)
    assert not model.sample(*size, temperature=temperature, **known).any()
    for draw in (
        partial(model.sample, *size, temperature=temperature),
        sampling.Sampler(model, *size, temperature=temperature).draw,
        partial(model._draw, sampling.naive, draws, None),
        partial(model._draw, sampling.cropped, draws, None),
    ):
        with pytest.raises(FloatingPointError, match=f"^expected {network} to give probabilities, got NaN: "):
            draw()


def test_a_model_of_bfloat16_samples_in_float32():
    model = make_model("diagonal", "rgb", torch.bfloat16)
    assert model.sample(2, (3, 2, 3), generator=generator()).dtype == torch.int64
    images = torch.randint(model.levels, (2, 3, 2, 3))
    exact = copy.deepcopy(model).double()
    exact.scaled = lambda values: model.scaled(values).double()
    assert_close("logits", exact(images).detach(), model.incremental_logits(images), RATIO[torch.float32])


def test_no_images():
    assert make_model("diagonal").sample(0, (1, 3, 4)).shape == (0, 1, 3, 4)


def test_sampling_leaves_the_model_and_its_arguments_as_they_are():
    model = make_model("multiscale-diagonal", "rgb").train()
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    given, known = torch.full((3, 4, 4), 6), torch.zeros(4, 4, dtype=torch.bool)
    known[:2] = True
    images = model.sample(2, (3, 4, 4), given=given, known=known)
    assert (images[..., :2, :] == 6).all() and (given == 6).all() and not images.requires_grad
    assert model.training
    assert all(torch.equal(before[name], parameter) for name, parameter in model.named_parameters())


@pytest.mark.parametrize(("name", "rows"), [("diagonal", 4), ("multiscale-row", 6)])
def test_progress(name, rows):
    seen = []
    make_model(name).sample(1, (1, 4, 4), progress=lambda *args: seen.append(args))
    assert seen == [(row, rows) for row in range(1, rows + 1)]


def test_progress_on_stderr(capsys):
    model = make_model("diagonal")
    model.sample(1, (1, 2, 2), progress=True)
    [plan] = sampling.sampling_plan(model, 1, (1, 2, 2))
    assert capsys.readouterr().err == f"drawing: {plan}\nrow 1/2\rrow 2/2\n"


@pytest.mark.parametrize("progress", ["x", "", 1, 0, None])
def test_a_progress_that_cannot_be_called(progress):
    with pytest.raises(TypeError, match=f"expected progress to be a bool or callable, got {type(progress).__name__}"):
        make_model("diagonal").sample(0, (1, 2, 2), progress=progress)


def test_an_interrupt_passes_through():
    def interrupt(done, rows):
        if done == 2:
            raise KeyboardInterrupt

    model = make_model("row")
    with pytest.raises(KeyboardInterrupt):
        model.sample(1, (1, 4, 4), progress=interrupt)
    assert model.sample(1, (1, 4, 4)).shape == (1, 1, 4, 4)


@pytest.mark.parametrize("name", WIRED_MODELS)
def test_a_pixel_may_run_twice(name, monkeypatch):
    """On a GPU, the first pixel's steps run as a warm-up, and again in the CUDA graph's first replay."""

    def every_pixel_twice(row):
        for column in range(row.rows.width if row.steps else 0):
            for _ in range(2):
                row.column.fill_(row.rows.margin + column)
                row._run_steps()

    model = make_model(name, "rgb", backend="reference")
    images = model.sample(2, (3, 2, 4), generator=generator())
    monkeypatch.setattr(EagerRow, "run", every_pixel_twice)
    assert torch.equal(images, model.sample(2, (3, 2, 4), generator=generator()))
    with torch.no_grad():
        assert_close("logits", model(images), model.incremental_logits(images), 1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_autocast_does_not_reach_sampling(backend):
    model = make_model("diagonal", "rgb", torch.float32, backend=backend, condition_channels=2)
    images, condition = torch.randint(7, (2, 3, 4, 5)), torch.randn(2, 2, 1, 1)
    with torch.autocast("cpu", torch.bfloat16):
        got = model.incremental_logits(images, condition)
        model.sample(2, (3, 2, 2), condition=condition)
    assert torch.equal(got, model.incremental_logits(images, condition))


def test_a_layer_without_mask_is_refused():
    model = make_model("diagonal")
    model.blocks[0].layer.mask_type = None
    with pytest.raises(ValueError, match="expected a layer with mask_type 'A' or 'B' to run it pixel by pixel"):
        model.sample(1, (1, 2, 2))


GIVEN, ALL = torch.zeros(4, 4).long(), torch.ones(4, 4).bool()
SHAPE, TEMPERATURE = r"expected shape \(1, H, W\) with H, W >= 1, got", "expected temperature >= 0 and finite, got"
WRONG = {
    "n": (dict(n=1.5), TypeError, "expected n to be an int, got float"),
    "negative n": (dict(n=-1), ValueError, "expected n >= 0, got -1"),
    "channels": (dict(shape=(3, 4, 4)), ValueError, SHAPE + r" \(3, 4, 4\)"),
    "2-D shape": (dict(shape=(4, 4)), ValueError, SHAPE + r" \(4, 4\)"),
    "empty": (dict(shape=(1, 0, 4)), ValueError, SHAPE + r" \(1, 0, 4\)"),
    "temperature": (dict(temperature=-0.5), ValueError, f"{TEMPERATURE} -0.5"),
    "NaN": (dict(temperature=float("nan")), ValueError, f"{TEMPERATURE} nan"),
    "text": (dict(temperature="1"), TypeError, "expected temperature to be a number, got str"),
    "large temperature": (dict(temperature=10**400), ValueError, f"{TEMPERATURE} 1000"),
    "shape of one number": (dict(shape=5), TypeError, r"expected shape to be a tuple \(C, H, W\), got int"),
    "generator": (dict(generator=3), TypeError, "expected generator to be a torch.Generator, got int"),
    "given alone": (dict(given=GIVEN), ValueError, "expected given and known together, got only given"),
    "known alone": (dict(known=ALL), ValueError, "expected given and known together, got only known"),
    "float given": (dict(given=GIVEN.float(), known=ALL), TypeError, "a Tensor of integers, got torch.float32"),
    "int known": (dict(given=GIVEN, known=GIVEN), TypeError, "expected known as a Tensor of bool, got torch.int64"),
    "given shape": (dict(given=torch.zeros(4, 5).long(), known=ALL), ValueError,
        r"expected given broadcastable to \(2, 1, 4, 4\), got \(4, 5\)"),
    "known shape": (dict(given=GIVEN, known=ALL.expand(3, 1, 4, 4)), ValueError,
        r"expected known broadcastable to \(2, 1, 4, 4\), got \(3, 1, 4, 4\)"),
    "given range": (dict(given=GIVEN + 2, known=ALL), ValueError, r"given values in \[0, 2\) where known, got 2"),
    "condition": (dict(condition=torch.zeros(2, 3, 1, 1)), ValueError, "expected no condition"),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "error", "message"), WRONG.values(), ids=WRONG)
def test_wrong_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        make_model("diagonal", dtype=torch.float32).sample(**dict(n=2, shape=(1, 4, 4)) | arguments)


def test_values_out_of_range_where_nothing_is_known_do_not_matter():
    given, known = torch.full((4, 4), 99), torch.zeros(4, 4, dtype=torch.bool)
    assert make_model("diagonal").sample(2, (1, 4, 4), given=given, known=known).max() <= 1


def run_columns(tensors, program, **streams):
    code = [columns.step_code(word) if isinstance(word, str) else word for word in program]
    torch.ops.pixelrnn_ext.run_columns(tensors, code, 1, 1.0, **streams)


NINE = r"expected known values in \[0, 2\), got 9"
BLOCK = columns.block_width(1, torch.float32, for_gpu=False) if library.why_no_native() is None else 0


def linear(base=0, output=1, start=0, stop=3, relu=0, packed=2, block=BLOCK, taps=1, source=0, shift=-1, channels=3):
    return ["linear", base, output, start, stop, relu, packed, block, taps, source, shift, channels]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (linear()[:-1], "ends within a step"),
        ([9], "there is no step 9"),
        ([2**32], "there is no step 4294967296"),
        ([-1], "there is no step -1"),
        (linear(base=99), "there is no tensor 99"),
        (linear(stop=4), "channels 0 to 4 are not in a buffer"),
        (linear(start=-1), "channels -1 to 3 are not in a buffer"),
        (linear(shift=-2), "expected a shift from -1 to 0, got -2"),
        (linear(shift=1), "expected a shift from -1 to 0, got 1"),
        (linear(shift=0, channels=4), "a tap reads 4 of 3 channels"),
        (linear(shift=0, channels=2), f"expected {2 * BLOCK} packed weights, got {3 * BLOCK}"),
        (linear(block=BLOCK + 1), "packed in blocks of"),
        (linear(output=3), "wrong dtype"),
        (linear(output=4), "expected a buffer"),
        (["cell", 0, 0, 0, 0, 0, 0, 0, 0, 3, 2, 0], "expected 12 channels of gates, got 3"),
        (["draw", 0, 3, 5, 6, 1, 0, 3], "has no logits"),
        (["draw", 0, 3, 5, 6, 7, 0, 0], NINE),
        (["draw", 8, 3, 5, 6, 7, 0, 0], "has no logits"),
        (["encode", 0, 6, 6, 7, 0, 0], NINE),
        (["encode", 0, 9, 5, 7, 0, 0], "wrong dtype"),
        (["encode", 0, 9, 9, 7, 0, 3], "has no logits"),
        (["decode", 0, 5, 6, 7, 0, 0], NINE),
        (["decode", 0, 5, 9, 7, 0, 0], "expected streams to decode"),
        (["encode", 11, 9, 9, 10, 0, 0], "expected 3 colours of 2 levels"),
        (["encode", 12, 9, 9, 13, 0, 0], "expected at most 4096 levels to code, got 4097"),
    ],
)
@native
def test_wrong_programs_are_refused(code, message):
    zeros = torch.zeros(5, 2, 3)
    known, values = zeros.bool(), zeros.long()
    known[3, 1, 0], values[3, 1, 0] = True, 9
    tensors = [zeros, zeros.clone(), torch.zeros(1, 3, 1, BLOCK), zeros.double(), zeros[1:], known, values]
    tensors += [torch.zeros(2), torch.zeros(5, 2, 2), zeros.long(), torch.zeros(3)]
    tensors += [torch.zeros(5, 2, 6), torch.zeros(5, 2, 3 * 4097), torch.zeros(4097)]
    run_columns(tensors, linear())
    with pytest.raises(RuntimeError, match=message):
        run_columns(tensors, code)


@native
def test_a_step_of_another_name_is_refused():
    with pytest.raises(RuntimeError, match="expected the name of a step, got lin$"):
        columns.step_code("lin")


FULL = 2**64 - 1 - 2**64  # the initial range, 2^64 - 1, as an int64
STREAM = [0, 2, 5, FULL, 8, 3]  # in the order of Stream's members (csrc/cpu/range_coder.h)


@pytest.mark.parametrize(
    "streams,options,message",
    [
        ([[0, 3, *STREAM[2:]]], {}, "there are streams of 3 of 2 images"),
        ([[0, 1, *STREAM[2:]]], {}, "there are streams of 1 of 2 images"),
        ([[1, *STREAM[1:]]], {}, "a stream has the images 1 to 2 behind 0"),
        ([[-1, *STREAM[1:]]], {}, "a stream has the images -1 to 2"),
        ([[2, 1, *STREAM[2:]]], {}, "a stream has the images 2 to 1"),
        ([STREAM, STREAM], {}, "a stream has the images 0 to 2 behind 2"),
        ([[*STREAM[:5], 4]], {}, "not one that was opened in 3 bytes"),
        ([[*STREAM[:4], -1, 3]], {}, "not one that was opened"),
        ([[*STREAM[:3], 2**48 - 1, 8, 3]], {}, "not one that was opened"),
        ([[*STREAM[:3], 0, 8, 3]], {}, "not one that was opened"),
        ([STREAM[:5]], {}, r"expected streams of shape \[1, 6\], got \[1, 5\]"),
        ([STREAM], dict(on_grid=True), "expected float64 on the grid"),
        (None, {}, "expected streams and their bytes, got one"),
    ],
)
@native
def test_wrong_streams_are_refused(streams, options, message):
    zeros, data = torch.zeros(3, 2, 1), torch.tensor([1, 2, 3], dtype=torch.uint8)
    tensors = [zeros, zeros.bool(), zeros.long(), zeros.long(), torch.zeros(2), zeros]
    decode = ["decode", 0, 1, 2, 4, 5, 0]
    run_columns(tensors, decode, streams=torch.tensor([STREAM]), bytes=data)
    given = dict(streams=None if streams is None else torch.tensor(streams), bytes=data) | options
    with pytest.raises(RuntimeError, match=message):
        run_columns(tensors, decode, **given)


@pytest.mark.parametrize(
    ("sizes", "code", "message"),
    [
        ((5, 2, 0), ["pointwise", 0, -1, 0, 0, 3, 0], "channels 0 to 3 are not in a buffer"),
        ((2**31, 0, 3), [], "expected fewer than 2^31 columns and images, got 2147483648 and 0"),
        ((5, 2**31, 0), [], "expected fewer than 2^31 columns and images, got 5 and 2147483648"),
        (
            (5, 0, 2**30),
            [*linear(output=0, stop=1, packed=0, taps=2, shift=0, channels=2**30), 0, 0, 2**30],
            "expected taps of fewer than 2^31 channels",
        ),
    ],
)
@native
def test_programs_of_empty_buffers_are_checked_too(sizes, code, message):
    with pytest.raises(RuntimeError, match=re.escape(message)):
        run_columns([torch.empty(sizes)], code)


@native
def test_no_streams_decode_no_images():
    def decode(images):
        zeros = torch.zeros(3, images, 1)
        tensors = [zeros, zeros.bool(), zeros.long(), torch.zeros(2)]
        given = dict(streams=torch.empty(0, 6, dtype=torch.int64), bytes=torch.zeros(3, dtype=torch.uint8))
        run_columns(tensors, ["decode", 0, 1, 2, 3, 0, 0], **given)

    decode(0)
    with pytest.raises(RuntimeError, match="expected streams to decode"):
        decode(2)


@pytest.mark.parametrize("interval", [(5, 5), (6, 5), (0, 2**24 + 1), (2**24, 2**24)], ids=str)
@native
def test_wrong_intervals_are_refused(interval):
    start, stop = interval
    with pytest.raises(RuntimeError, match=f"expected 0 <= start < stop <= {2**24}, got {start} and {stop}"):
        torch.ops.pixelrnn_ext.range_encode(torch.tensor([0 << 32 | 7, start << 32 | stop]))
