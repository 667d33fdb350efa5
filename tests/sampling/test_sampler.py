"""Tests px.Sampler, which draws several batches with one plan."""

import copy
import pickle
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

import pixelrnn_ext as px
from helpers.models import COLOURS, WIRED_MODELS, generator, make_model, random_images
from pixelrnn_ext.incremental import block, drawing, draws
from pixelrnn_ext.operators import columns

SIZES = {None: None, "label": (3, 2, 1, 1), "map": (3, 2, 4, 6), "map of all": (1, 2, 4, 6)}


def conditions(kind, dtype=torch.float64):
    size = SIZES[kind]
    return [None if size is None else torch.randn(size, generator=generator(seed), dtype=dtype) for seed in (1, 2)]


@pytest.mark.covering(2)
@pytest.mark.parametrize("known", [False, True], ids=["new", "completed"])
@pytest.mark.parametrize("condition", SIZES)
@pytest.mark.parametrize("backend", ["auto", "reference"])
@pytest.mark.parametrize("colours", COLOURS)
@pytest.mark.parametrize("name", WIRED_MODELS)
def test_each_batch_is_what_sample_draws(name, colours, backend, condition, known):
    model = make_model(name, colours, backend=backend, condition_channels=0 if condition is None else 2)
    first, other = conditions(condition)
    shape = model.image_channels, 4, 6
    given = dict(given=random_images(model, 3, 4, 6), known=torch.arange(24).view(4, 6) % 3 == 0) if known else {}
    sampler = px.Sampler(model, 3, shape, temperature=0.8, condition=first)
    for now, replaced, seed in ((first, None, 0), (other, other, 1), (first, None, 0)):
        expected = model.sample(3, shape, generator=generator(seed), temperature=0.8, condition=now, **given)
        assert torch.equal(sampler.draw(generator=generator(seed), condition=replaced, **given), expected)


@pytest.mark.parametrize("condition", ["label", "map"])
@pytest.mark.parametrize("name", ["row", "diagonal", "pixelcnn"])
def test_logits_under_another_condition(name, condition):
    model = make_model(name, "rgb", condition_channels=2)
    images = random_images(model, 3, 4, 6)
    kept = drawing.Drawing(model, images.shape, conditions(condition)[0], 1.0)
    asked = draws.Draws(images.double(), torch.ones_like(images, dtype=torch.bool), images, 1.0)
    for other in reversed(conditions(condition)):
        with torch.no_grad():
            logits = torch.cat([logits for _, logits in kept.rows(asked, other, True)], 2)
        assert torch.equal(logits, px.sampling.logit_map(model, images, other))


def test_a_condition_that_changes_in_place_is_read_again():
    model = make_model("diagonal", condition_channels=2)
    first, other = conditions("map")
    sampler = px.Sampler(model, 3, (1, 4, 6), condition=first)
    first.copy_(other)
    expected = model.sample(3, (1, 4, 6), generator=generator(), condition=other)
    assert torch.equal(sampler.draw(generator=generator()), expected)


@pytest.mark.parametrize("name", WIRED_MODELS)
def test_plans(name):
    model = make_model(name)
    assert px.Sampler(model, 2, (1, 4, 4)).plans == px.sampling_plan(model, 2, (1, 4, 4))


COPIES = {"copy": copy.copy, "deepcopy": copy.deepcopy, "pickle": lambda sampler: pickle.loads(pickle.dumps(sampler))}


@pytest.mark.parametrize("name", ["diagonal", "multiscale-row"])
@pytest.mark.parametrize("kind", COPIES)
def test_a_copy_draws_the_same_images(kind, name):
    model = make_model(name, "rgb", condition_channels=2)
    sampler = px.Sampler(model, 3, (3, 4, 6), temperature=0.8, condition=conditions("label")[0])
    expected, copied = sampler.draw(generator=generator()), COPIES[kind](sampler)
    if kind != "copy":
        next(model.parameters()).data.zero_()  # the copy has its own model
        with pytest.raises(RuntimeError, match="expected the parameters and buffers with which the Sampler was made"):
            COPIES[kind](sampler)
    assert torch.equal(copied.draw(generator=generator()), expected)


def test_threads_share_a_sampler():
    model = make_model("diagonal", "rgb")
    sampler = px.Sampler(model, 2, (3, 4, 6))
    with ThreadPoolExecutor(4) as pool:
        images = list(pool.map(lambda seed: sampler.draw(generator=generator(seed)), range(12)))
    for seed, got in enumerate(images):
        assert torch.equal(got, model.sample(2, (3, 4, 6), generator=generator(seed)))


def test_an_interrupted_drawing_leaves_the_sampler_as_it_was():
    sampler = px.Sampler(make_model("row", condition_channels=2), 2, (1, 4, 6), condition=torch.ones(1, 2, 1, 1))
    expected = sampler.draw(generator=generator())

    def interrupt(done, rows):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sampler.draw(generator=generator(1), progress=interrupt)
    with pytest.raises(FloatingPointError, match="expected PixelRNN to give probabilities, got NaN"):
        sampler.draw(condition=torch.full((1, 2, 1, 1), torch.nan))
    assert torch.equal(sampler.draw(generator=generator()), expected)


def test_progress_cannot_draw_with_the_same_sampler():
    sampler = px.Sampler(make_model("row"), 1, (1, 2, 2))
    with pytest.raises(RuntimeError, match="expected progress not to draw with the same Sampler, got a call of draw"):
        sampler.draw(progress=lambda done, rows: sampler.draw())
    sampler.draw()


def test_a_sampler_made_in_inference_mode_draws_outside_of_it():
    model = make_model("multiscale-diagonal", condition_channels=2)
    with torch.inference_mode():
        sampler = px.Sampler(model, 3, (1, 4, 6), condition=conditions("map")[0])
    expected = model.sample(3, (1, 4, 6), generator=generator(), condition=conditions("map")[0])
    assert torch.equal(sampler.draw(generator=generator()), expected)


def test_hooks_that_expand_a_condition():
    model = make_model("diagonal", condition_channels=2)
    model.blocks[0].condition.register_forward_hook(lambda module, args, map: map.expand(-1, -1, 4, 6))
    first, other = conditions("label")
    sampler = px.Sampler(model, 3, (1, 4, 6), condition=first)
    expected = model.sample(3, (1, 4, 6), generator=generator(), condition=other)
    assert torch.equal(sampler.draw(generator=generator(), condition=other), expected)


def fused_step(model):
    model.log_prob(random_images(model, 1, 2, 2)).sum().backward()
    torch.optim.SGD(model.parameters(), 0.1, fused=True).step()


def swap(model):
    weight = next(model.parameters()).data
    weight[:2] = weight[:2].flip(0)


def prune_again(model):
    model.get_buffer("head.1.weight_mask")[:] = 0


@pytest.mark.parametrize("change", [fused_step, swap, prune_again])
def test_a_change_of_the_model_is_refused(change):
    model = make_model("diagonal", dtype=torch.float32)
    torch.nn.utils.prune.random_unstructured(model.head[1], "weight", 0.2)
    sampler = px.Sampler(model, 1, (1, 2, 2))
    model.load_state_dict(model.state_dict())
    sampler.draw()
    change(model)
    with pytest.raises(RuntimeError, match="expected the parameters and buffers with which the Sampler was made, got"):
        sampler.draw()


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((torch.nn.Linear(1, 1), 1, (1, 2, 2)), {}, TypeError, "expected a PixelRNN, PixelCNN or MultiScalePixelRNN"),
        ((make_model("row"), -1, (1, 2, 2)), {}, ValueError, "expected n"),
        ((make_model("row"), 1, (2, 2, 2)), {}, ValueError, "expected shape (1, H, W)"),
        ((make_model("row"), 1, (1, 2, 2)), dict(temperature=-1), ValueError, "expected temperature >= 0"),
        ((make_model("row"), 1, (1, 2, 2)), dict(condition=torch.ones(1, 1, 1, 1)), ValueError, "no condition"),
        ((make_model("row", condition_channels=2), 1, (1, 2, 2)), {}, ValueError, "expected a condition"),
        ((make_model("multiscale-row"), 1, (1, 3, 2)), {}, ValueError, "multiples of factor 2"),
    ],
    ids=["model", "n", "shape", "temperature", "no-condition", "condition", "factor"],
)
def test_a_constructor_s_argument_that_does_not_fit(arguments, options, error, message):
    with pytest.raises(error, match=re.escape(message)):
        px.Sampler(*arguments, **options)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (dict(generator=3), TypeError, "expected generator to be a torch.Generator, got int"),
        (dict(given=torch.zeros(1, dtype=torch.int64)), ValueError, "expected given and known together"),
        (dict(condition=torch.ones(1, 2, 1, 1)), ValueError, "shape (3, 2, 1, 1), got (1, 2, 1, 1)"),
        (dict(condition=torch.ones(3, 1, 1, 1)), ValueError, "broadcastable to (3, 2, 4, 6)"),
        (dict(progress=3), TypeError, "expected progress to be a bool or callable, got int"),
    ],
    ids=["generator", "given", "other-condition", "condition", "progress"],
)
def test_an_argument_of_draw_that_does_not_fit(options, error, message):
    model = make_model("row", condition_channels=2)
    sampler = px.Sampler(model, 3, (1, 4, 6), condition=conditions("label")[0])
    with pytest.raises(error, match=re.escape(message)):
        sampler.draw(**options)


class Refuse(TorchDispatchMode):
    """Fails if an operator needs a tensor's values on the CPU, because a CUDA graph cannot capture such an operator."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        assert function._schema.name not in ("aten::_local_scalar_dense", "aten::nonzero", "aten::is_nonzero")
        return function(*args, **kwargs or {})


def begin_capture(monkeypatch):
    for module in (block, drawing, draws, px.sampling):
        monkeypatch.setattr(module, "is_capturing", lambda device: True)


@pytest.mark.emulated
@pytest.mark.parametrize("blocks", [1, 2], ids="{}-blocks".format)
@pytest.mark.parametrize("name", ["row", "multiscale-diagonal"])
def test_only_launches_are_captured(name, blocks, use_gpu, monkeypatch):
    use_gpu(blocks=blocks)
    model = make_model(name, "rgb", torch.float32, condition_channels=2)
    first, other = (condition[:2] for condition in conditions("label", torch.float32))
    known = dict(given=random_images(model, 2, 4, 4), known=torch.arange(16).view(4, 4) % 3 == 0)
    monkeypatch.setattr(block, "_LAUNCH_SECONDS", 0)  # each launch draws one row
    sampler = px.Sampler(model, 2, (3, 4, 4), condition=first)
    sampler.draw(generator=generator(1), **known)
    expected = model.sample(2, (3, 4, 4), generator=generator(), condition=other, **known)
    begin_capture(monkeypatch)
    monkeypatch.setattr(
        draws, "_check_device", lambda device, **operands: None
    )  # the emulated GPU's tensors are on the CPU
    for owner, name in ((block, "wait"), (columns, "plan_rows"), (columns, "upload_rows")):
        monkeypatch.delattr(owner, name)
    with Refuse():
        got = sampler.draw(generator=generator(), condition=other, **known)
    assert torch.equal(got, expected)
    known["given"][:] = model.levels
    with pytest.raises(RuntimeError, match=re.escape(f"expected given values in [0, {model.levels}) where known")):
        sampler.draw(generator=generator(), **known)


@pytest.mark.emulated
@pytest.mark.parametrize("blocks", [1, 2], ids="{}-blocks".format)
def test_a_kept_plan_draws_with_its_own_tensors_alone(blocks, use_gpu, monkeypatch):
    use_gpu(blocks=blocks)
    draw_rows, calls = columns.draw_rows, []
    monkeypatch.setattr(columns, "draw_rows", lambda *arguments: (calls.append(arguments), draw_rows(*arguments)))
    for name in ("row", "row", "diagonal"):
        px.Sampler(make_model(name), 1, (1, 2, 2)).draw(generator=generator())
    (tensors, plan, *rest), (same_sizes, *_), (other_sizes, *_) = calls
    draw_rows(tensors, plan, *rest)
    expected = "expected the plan that upload_rows returned for these tensors, got "
    for others in (same_sizes, other_sizes, tensors[:-1], [*tensors, tensors[0]], [t[:0] for t in tensors]):
        with pytest.raises(RuntimeError, match=expected + "the plan of others"):
            draw_rows(others, plan, *rest)
    for other in (plan.clone(), torch.zeros_like(plan), plan[:-1], plan.view(torch.int8), tensors[0]):
        with pytest.raises(RuntimeError, match=expected + "other bytes"):
            draw_rows(tensors, other, *rest)
    owned = [StorageWeakRef(tensor.untyped_storage()) for tensor in tensors]
    calls.clear()
    del tensors, others, other
    assert not any(storage.expired() for storage in owned)
    del plan
    assert all(storage.expired() for storage in owned)


@pytest.mark.emulated
@pytest.mark.parametrize(
    ("blocks", "message"),
    [(1, "expected a drawing before the capture of a CUDA graph"), (None, "expected a plan of the way 'images'")],
    ids=["first", "stages"],
)
def test_what_cannot_be_captured(blocks, message, use_gpu, monkeypatch):
    use_gpu(blocks=blocks)
    sampler = px.Sampler(make_model("row"), 1, (1, 2, 2))
    begin_capture(monkeypatch)
    monkeypatch.setattr(draws, "_check_device", lambda device, **operands: None)
    with pytest.raises(RuntimeError, match=message):
        sampler.draw()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "expected generator on cpu during the capture of a CUDA graph, got none"),
        (
            dict(generator=generator(), **dict.fromkeys(["given", "known"], torch.ones(1, device="meta"))),
            "expected given on cpu during the capture of a CUDA graph, got meta",
        ),
    ],
    ids=["generator", "given"],
)
def test_numbers_of_another_device_cannot_be_captured(options, message, monkeypatch):
    sampler = px.Sampler(make_model("row"), 1, (1, 2, 2))
    begin_capture(monkeypatch)
    with pytest.raises(RuntimeError, match=message):
        sampler.draw(**options)


def test_nothing_is_planned_during_a_capture(monkeypatch):
    begin_capture(monkeypatch)
    with pytest.raises(RuntimeError, match="expected no capture of a CUDA graph while a drawing is planned"):
        make_model("row").sample(1, (1, 2, 2), generator=generator())
