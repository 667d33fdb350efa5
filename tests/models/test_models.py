import copy
import json
import pickle
import time
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

import pixelrnn_ext as px
from helpers import oracle
from helpers.checks import randn64
from helpers.models import MODELS, SIZES, each_colours, each_model, make_model, random_images
from helpers.selection import swept
from pixelrnn_ext import models
from pixelrnn_ext.operators import operands


def random_inputs(model, *size):
    images, channels = random_images(model, *size), model.condition_channels
    return images, randn64(len(images), channels, *images.shape[2:]) if channels else None


def masked_conv(x, module, mask_type):
    weight = oracle.masked(module.weight, mask_type, module.image_channels)
    return F.conv2d(x, weight, module.bias, padding=[size // 2 for size in weight.shape[2:]])


def paper_logits(model, images, condition):
    """Computes a model's logits as table 1 and figure 5 of the PixelRNN paper define them."""
    x = 2 * images.double() / (model.levels - 1) - 1
    y, skipped = masked_conv(x, model.first, "A"), 0
    for i, block in enumerate(model.blocks):
        bias = 0 if condition is None else F.conv2d(condition, block.condition.weight).expand(len(x), -1, *x.shape[2:])
        if isinstance(model, px.PixelCNN):
            u = masked_conv(F.relu(y), block.reduce, "B")
            u = masked_conv(F.relu(u), block.layer, "B") + bias
            u = masked_conv(F.relu(u), block.output, "B")
        else:
            u = masked_conv(oracle.layer(block.layer, y, None if condition is None else bias), block.output, "B")
        y = y + u if model.residual else u
        if model.skip:
            skipped = skipped + masked_conv(y, model.skips[i], "B")
    _, first, second, logits = model.head
    y = masked_conv(F.relu(skipped if model.skip else y), first, "B")
    y = masked_conv(masked_conv(F.relu(y), second, "B"), logits, "B")
    return torch.stack(y.chunk(model.image_channels, 1), 2)


def paper_logits_multiscale(model, images, condition):
    f = model.factor
    small = images[:, :, ::f, ::f]
    upsampled = 2 * small.double() / (model.levels - 1) - 1
    for i, conv in enumerate(m for m in model.upsampling if isinstance(m, torch.nn.ConvTranspose2d)):
        upsampled = F.relu(upsampled) if i else upsampled
        upsampled = F.conv_transpose2d(upsampled, conv.weight, conv.bias, stride=conv.stride, padding=conv.padding)
    both = upsampled if condition is None else torch.cat([upsampled, condition], 1)
    y = paper_logits(model.large_model, images, both)
    y[..., ::f, ::f] = paper_logits(model.small_model, small, None if condition is None else condition[..., ::f, ::f])
    return y


@pytest.mark.parametrize(
    "wiring",
    [
        dict(residual=True, skip=False),
        dict(residual=True, skip=True, condition_channels=2),
        dict(residual=False, skip=True, initial_state="zero"),
        dict(residual=False, skip=False, condition_channels=2),
    ],
    ids=lambda wiring: "-".join(f"{name}={value}" for name, value in wiring.items()),
)
@pytest.mark.covering(2)
@pytest.mark.parametrize("backend", ["auto", "reference"])
@each_colours
@each_model
def test_logits_are_those_of_table_1(name, colours, backend, wiring):
    if name == "pixelcnn":
        wiring = {key: value for key, value in wiring.items() if key != "initial_state"}
    if name == "multiscale-row":
        wiring = wiring | {"factor": 4}
    model = make_model(name, colours, backend=backend, **wiring)
    images, condition = random_inputs(model, 1, 4, 8)
    expected = (paper_logits_multiscale if name.startswith("multiscale") else paper_logits)(model, images, condition)
    with torch.no_grad():
        assert_close(model(images, condition), expected, rtol=1e-12, atol=1e-12)


def count_reads(call):
    """Counts the calls of operators that read values of tensors. On a GPU the host waits for each such read."""
    waits = "aminmax", "_local_scalar_dense", "nonzero", "equal", "is_nonzero", "masked_select"
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        call().sum().backward()
    counts = {event.key.removeprefix("aten::"): event.count for event in profile.key_averages()}
    return {name: counts[name] for name in waits if name in counts}


@pytest.mark.covering(1)
@pytest.mark.parametrize("call", ["forward", "log_prob", "bits_per_dim"])
@each_model
def test_values_are_looked_at_once_or_not_at_all(name, call):
    model = make_model(name, condition_channels=2)
    images, condition = random_inputs(model)
    checked, unchecked = (partial(getattr(model, call), images, condition, check=check) for check in (True, False))
    assert count_reads(checked)["aminmax"] == 1
    assert count_reads(unchecked) == {}
    assert torch.equal(checked(), unchecked())


@each_model
def test_any_size_dtype_and_batch(name):
    model = make_model(name, "rgb")
    sizes = [(1, 2, 2), (2, 6, 4), (1, 2, 10), (0, 4, 4)]
    sizes += [] if name.startswith("multiscale") else [(2, 1, 1), (1, 5, 3)]
    for n, height, width in sizes:
        images = random_images(model, n, height, width)
        logits = model(images)
        assert logits.shape == (n, 7, 3, height, width)
        assert model.log_prob(images).shape == (n,)
        assert model.bits_per_dim(images).isnan() == (n == 0)
        for dtype in (torch.uint8, torch.int8, torch.int32):
            assert torch.equal(model(images.to(dtype)), logits)
    gray = make_model(name)
    assert gray(random_images(gray)).shape == (2, 1, 1, 4, 6)


@each_model
def test_condition_steers_and_broadcasts(name):
    model = make_model(name, "rgb", condition_channels=3)
    images = random_images(model)
    logits = {}
    for n, size in [(1, (1, 1)), (2, (1, 1)), (2, (4, 1)), (2, (4, 6))]:
        condition = randn64(n, 3, *size)
        logits[n, size] = model(images, condition)
        assert_close(model(images, condition.expand(2, 3, 4, 6)), logits[n, size], rtol=1e-12, atol=1e-12)
        assert_close(model(images, condition.float()), logits[n, size], rtol=1e-5, atol=1e-5)
    assert not torch.allclose(logits[1, (1, 1)], logits[2, (1, 1)])


@pytest.mark.parametrize(
    ("backend", "convolution_backend"),
    [("auto", "auto"), ("native", "native"), ("step", "native"), ("resident", "native"), ("reference", "reference")],
)
@each_model
def test_backend_is_mapped_for_each_layer(name, backend, convolution_backend):
    model = make_model(name, backend=backend)
    convolutions = {m.backend for m in model.modules() if isinstance(m, px.MaskedConv2d)}
    recurrent = {m.backend for m in model.modules() if isinstance(m, (px.RowLSTM, px.DiagonalBiLSTM))}
    assert convolutions == {convolution_backend}
    assert recurrent == (set() if name == "pixelcnn" else {backend})


OPTIONS = dict(skip=True, residual=False, kernel_size=5, condition_channels=2)


@each_model
def test_configuration_round_trip(name):
    model = make_model(name, "rgb", **OPTIONS)
    config = json.loads(json.dumps(models.to_config(model)))
    other = models.from_config(config).double()
    assert type(other) is type(model) and models.to_config(other) == config
    other.load_state_dict(model.state_dict())
    images, condition = random_inputs(model)
    for twin in (other, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(twin(images, condition), model(images, condition))
    assert repr(model) == repr(other) and "skip=True" in repr(model)


def test_a_class_of_ones_own_whose_arguments_are_no_attributes():
    class Wide(models.PixelCNN):
        def __init__(self, times, hidden_channels=4):
            super().__init__(image_channels=1, levels=2, hidden_channels=times * hidden_channels, num_layers=1)

    model = Wide(2)
    assert repr(model).startswith("Wide(\n  hidden_channels=8\n")
    with pytest.raises(
        TypeError, match="expected the arguments of Wide to be attributes of the model, got none named 'times'"
    ):
        models.to_config(model)


@pytest.mark.parametrize("name", models.CONFIGURATIONS)
def test_models_of_the_paper(name):
    with torch.device("meta"):
        model = models.from_name(name, condition_channels=10)
        again = models.from_config(models.to_config(model))
    assert {k: v.shape for k, v in again.state_dict().items()} == {k: v.shape for k, v in model.state_dict().items()}
    config = models.to_config(model)
    assert config == config | models.CONFIGURATIONS[name] | {"condition_channels": 10}
    assert len(model.blocks) == model.num_layers and model.first.weight.shape[2:] == (7, 7)


def test_parameters():
    sizes = SIZES | dict(image_channels=3, levels=4, num_layers=1, kernel_size=5, skip=True, condition_channels=2)
    shared = {
        "first": (10, 3, 7, 7),
        "blocks.0.output": (10, 5, 1, 1),
        "skips.0": (10, 10, 1, 1),
        "head.1": (7, 10, 1, 1),
        "head.2": (7, 7, 1, 1),
        "head.3": (12, 7, 1, 1),
    }

    def shapes(model):
        return {name: tuple(p.shape) for name, p in model.named_parameters()}

    def with_biases(weights):
        biases = {f"{name}.bias": size[:1] for name, size in weights.items()}
        return biases | {f"{name}.weight": size for name, size in weights.items()}

    row = {"weight_ih": (20, 10, 1, 5), "weight_hh": (20, 5, 5), "bias": (20,), "h0": (5,), "c0": (5,)}
    row = {f"blocks.0.layer.{name}": size for name, size in row.items()}
    row["blocks.0.condition.weight"] = (20, 2, 1, 1)
    assert shapes(px.PixelRNN("row", **sizes)) == with_biases(shared) | row
    cnn = shared | {"blocks.0.reduce": (5, 10, 1, 1), "blocks.0.layer": (5, 5, 5, 5)}
    assert shapes(px.PixelCNN(**sizes)) == with_biases(cnn) | {"blocks.0.condition.weight": (5, 2, 1, 1)}
    multiscale = px.MultiScalePixelRNN("row", upsampling_channels=4, factor=6, small={"hidden_channels": 3}, **sizes)
    assert {name.partition(".")[0] for name in shapes(multiscale)} == {"small_model", "upsampling", "large_model"}
    assert [multiscale.upsampling[i].weight.shape for i in (0, 2)] == [(3, 4, 4, 4), (4, 4, 5, 5)]
    assert multiscale.small_model.first.weight.shape == (6, 3, 7, 7)
    assert multiscale.large_model.blocks[0].condition.weight.shape == (20, 4 + 2, 1, 1)


@pytest.mark.parametrize("name", ["multiscale-diagonal", *swept("pixelcnn", "row", "diagonal")])
def test_compiles_without_a_graph_break(name):
    model = make_model(name, "rgb", num_layers=1, skip=True, condition_channels=2)
    images, condition = random_inputs(model)
    torch._dynamo.reset()
    loss = torch.compile(model.bits_per_dim, fullgraph=True, backend="aot_eager")(images, condition)
    assert_close(loss, model.bits_per_dim(images, condition), rtol=1e-12, atol=0)
    assert all(g.isfinite().all() and g.any() for g in torch.autograd.grad(loss, model.parameters()))


@each_model
def test_autocast(name):
    model = make_model(name, "rgb", torch.float32, condition_channels=2)
    images, condition = random_inputs(model)
    condition = condition.float()
    expected = model(images, condition)
    with torch.autocast("cpu", torch.bfloat16):
        logits, log_prob = model(images, condition), model.log_prob(images, condition)
    assert logits.dtype == torch.bfloat16 and log_prob.dtype == torch.float32
    assert_close(logits.float(), expected, rtol=0.05, atol=0.05)
    assert_close(log_prob, model.log_prob(images, condition), rtol=0.02, atol=0)


GRAY = torch.zeros(2, 1, 4, 6, dtype=torch.int64)


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (GRAY.float(), TypeError, "images as a Tensor of integers .*, got torch.float32"),
        (GRAY.bool(), TypeError, "images as a Tensor of integers .*, got torch.bool"),
        (GRAY.numpy(), TypeError, "images as a Tensor of integers .*, got ndarray"),
        (GRAY.to(torch.uint16), TypeError, r"integers \(uint8, int8, int16, int32 or int64\), got torch.uint16"),
        (GRAY + 2, ValueError, r"integers in \[0, 2\), got values from 2 to 2"),
        (GRAY - 1, ValueError, r"integers in \[0, 2\), got values from -1 to -1"),
        (GRAY[0], ValueError, r"shape \(N, 1, H, W\) with H, W >= 1, got \(1, 4, 6\)"),
        (GRAY.expand(2, 3, 4, 6), ValueError, r"shape \(N, 1, H, W\) .* got \(2, 3, 4, 6\)"),
        (GRAY[:, :, :0], ValueError, r"with H, W >= 1, got \(2, 1, 0, 6\)"),
        (GRAY.to_sparse(), TypeError, "images as a dense Tensor, got torch.sparse_coo"),
        (torch.nested.nested_tensor([*GRAY], layout=torch.jagged), TypeError, "dense Tensor, got a nested one"),
    ],
)
@each_model
def test_wrong_images(name, images, error, message):
    model = make_model(name)
    for function in (model, model.log_prob, model.bits_per_dim):
        with pytest.raises(error, match=message):
            function(images)
        if "got values" not in message:
            with pytest.raises(error, match=message):
                function(images, check=False)


@pytest.mark.parametrize("call", ["log_prob", "compress", "sample"])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64], ids=str)
def test_an_expanded_map_that_memory_cannot_hold_is_refused_at_once(dtype, call, monkeypatch):
    """Reading all 50000 x 50000 pixels would take half a minute."""
    monkeypatch.setattr(operands, "machine_memory", lambda: 1 << 34)
    model = make_model("pixelcnn", condition_channels=1)
    images = torch.zeros(1, 1, 1, 1, dtype=dtype).expand(1, 1, 50000, 50000)
    condition = torch.zeros(1, 1, 1, 1, dtype=torch.float64).expand(images.shape)
    sampling = dict(n=1, shape=images.shape[1:], given=images, known=images[..., :1, :1] == 0)
    arguments = sampling if call == "sample" else dict(images=images)
    begun = time.process_time()
    with pytest.raises(ValueError, match=r"this machine's 16384 MiB of memory, got \(1, 1, 50000, 50000\), which take"):
        getattr(model, call)(condition=condition, **arguments)
    assert time.process_time() - begun < 2


def test_one_value_of_an_expanded_map_is_looked_at(monkeypatch):
    monkeypatch.setattr(operands, "machine_memory", lambda: 1 << 34)
    model, images = make_model("pixelcnn"), torch.full((1, 1, 1, 1), 3).expand(1, 1, 50000, 50000)
    with pytest.raises(ValueError, match=r"integers in \[0, 2\), got values from 3 to 3"):
        model(images)
    small = torch.full((1, 1, 1, 1), 3)
    known = torch.tensor([False, True]).expand(2, 1, 2, 2)
    with pytest.raises(ValueError, match=r"given values in \[0, 2\) where known, got 3"):
        model.sample(2, (1, 2, 2), given=small, known=known)
    drawn = model.sample(2, (1, 2, 2), given=small - 2, known=known)
    assert (drawn[..., 1] == 1).all()


@pytest.mark.parametrize(
    ("condition", "error", "message"),
    [
        (None, ValueError, r"condition broadcastable to \(2, 3, 4, 6\), got None"),
        (torch.zeros(2, 2, 1, 1), ValueError, r"to \(2, 3, 4, 6\), got \(2, 2, 1, 1\)"),
        (torch.zeros(2, 1, 4, 6), ValueError, r"to \(2, 3, 4, 6\), got \(2, 1, 4, 6\)"),
        (torch.zeros(2, 3, 2, 3), ValueError, r"to \(2, 3, 4, 6\), got \(2, 3, 2, 3\)"),
        (torch.zeros(3, 3, 1, 1), ValueError, r"to \(2, 3, 4, 6\), got \(3, 3, 1, 1\)"),
        (torch.zeros(2, 3), ValueError, r"to \(2, 3, 4, 6\), got \(2, 3\)"),
        (torch.zeros(2, 3, 1, 1).long(), TypeError, "floating-point numbers, got torch.int64"),
        (1.0, TypeError, "expected condition as a Tensor of floating-point numbers, got float"),
        (torch.ones(2, 3, 1, 1).to_sparse(), TypeError, "condition as a dense Tensor, got torch.sparse"),
    ],
)
@each_model
def test_wrong_condition(name, condition, error, message):
    with pytest.raises(error, match=message):
        make_model(name, condition_channels=3)(GRAY, condition)


@each_model
def test_a_condition_that_the_model_does_not_take(name):
    with pytest.raises(ValueError, match="expected no condition for a model without condition_channels, got one"):
        make_model(name)(GRAY, torch.zeros(2, 3, 1, 1))


@each_colours
@pytest.mark.parametrize("name", ["row", "diagonal", "pixelcnn"])
def test_maps_stay_in_channels_last(name, colours):
    """A layer would copy an input that is not channels_last."""
    model, formats = make_model(name, colours), []
    for layer in model.modules():
        if isinstance(layer, (px.MaskedConv2d, px.RowLSTM, px.DiagonalBiLSTM)):
            layer.register_forward_hook(
                lambda *args: formats.append(args[-1].is_contiguous(memory_format=torch.channels_last))
            )
    model(random_images(model, 2, 4, 6))
    assert formats and all(formats)


@pytest.mark.parametrize(("height", "width"), [(4, 5), (3, 4)])
def test_sizes_that_the_factor_does_not_divide(height, width):
    model = make_model("multiscale-row")
    images = torch.zeros(1, 1, height, width, dtype=torch.uint8)
    for use in (lambda: model.log_prob(images), lambda: model.sample(1, (1, height, width))):
        with pytest.raises(ValueError, match=f"expected H and W to be multiples of factor 2, got {height} x {width}"):
            use()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (dict(levels=1), ValueError, "expected levels >= 2, got 1"),
        (dict(levels=2.0), TypeError, "expected levels to be an int, got float"),
        (dict(hidden_channels=0), ValueError, "expected hidden_channels >= 1, got 0"),
        (dict(num_layers=True), TypeError, "expected num_layers to be an int, got bool"),
        (dict(image_channels=7), ValueError, "at least one channel for each of 7 image_channels, got 5"),
        (dict(condition_channels=-1), ValueError, "expected condition_channels >= 0, got -1"),
        (dict(condition_channels=None), TypeError, "condition_channels to be an int, got NoneType"),
        (dict(kernel_size=2), ValueError, "expected an odd kernel_size, got 2"),
        (dict(kernel_size="3"), TypeError, "expected kernel_size to be an int, got str"),
        (dict(residual="no"), TypeError, "expected residual to be a bool, got str"),
        (dict(skip=1), TypeError, "expected skip to be a bool, got int"),
        (dict(backend="fast"), ValueError, "expected backend to be one of .* got 'fast'"),
    ],
)
@each_model
def test_wrong_arguments(name, options, error, message):
    with pytest.raises(error, match=message):
        make_model(name, **options)


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("row", dict(initial_state="one"), ValueError, "'zero' or 'learned', got 'one'"),
        ("multiscale-row", dict(factor=1), ValueError, "expected factor >= 2, got 1"),
        ("multiscale-row", dict(upsampling_channels=0), ValueError, "upsampling_channels >= 1, got 0"),
        ("multiscale-row", dict(small=5), TypeError, "expected small to be a dict, got int"),
        ("multiscale-row", dict(small={"depth": 3}), ValueError, r"may differ, got \['depth'\]"),
        ("multiscale-row", dict(small={"levels": 4}), ValueError, r"may differ, got \['levels'\]"),
    ],
)
def test_wrong_arguments_of_one_model(name, options, error, message):
    with pytest.raises(error, match=message):
        make_model(name, **options)


@pytest.mark.parametrize("make", [px.PixelRNN, px.MultiScalePixelRNN])
def test_wrong_layer(make):
    with pytest.raises(ValueError, match="expected layer to be 'row' or 'diagonal', got 'x'"):
        make("x", **SIZES)


NO_CONFIGURATION = "expected the configuration of a model"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, f"{NO_CONFIGURATION}, one of PixelRNN, .* got {{}}"),
        (None, f"{NO_CONFIGURATION}, .* got None"),
        ([1], rf"{NO_CONFIGURATION}, .* got \[1\]"),
        ({"model": "Module"}, f"{NO_CONFIGURATION}, .* got {{'model': 'Module'}}"),
        ({"model": ["PixelCNN"]}, NO_CONFIGURATION),
        ({"epoch": torch.zeros(1)}, NO_CONFIGURATION),
        ({"model": "PixelCNN"}, "expected the arguments of PixelCNN, got others: .*missing"),
        ({"model": "PixelCNN", "depth": 1} | SIZES, "got others: .*unexpected keyword argument 'depth'"),
        ({"model": "PixelCNN", 1: 1} | SIZES, "expected the arguments of PixelCNN, got others"),
        ({"model": "PixelCNN"} | SIZES | {"levels": "2"}, "got others: expected levels to be an int, got str"),
        ({"model": "PixelCNN"} | SIZES | {"levels": 0}, "expected levels >= 2, got 0"),
    ],
)
def test_foreign_configurations(config, message):
    with pytest.raises(ValueError, match=message):
        models.from_config(config)


def test_unknown_name():
    with pytest.raises(ValueError, match="expected the name of a model, one of mnist-diagonal, .* got 'mnist'"):
        models.from_name("mnist")


@pytest.mark.parametrize(("levels", "head"), [(2, 32), (256, 1024)])
@each_model
def test_head_channels_by_default_are_those_of_table_1(name, levels, head):
    model = MODELS[name](image_channels=1, levels=levels, hidden_channels=2, num_layers=1)
    assert model.head_channels == px.models.to_config(model)["head_channels"] == head
