"""Sampling, coding and ``forward`` agree, whatever hooks and wrappers the modules have."""

import copy
import math
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import distributed, nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import CheckpointImpl, checkpoint_wrapper
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import parametrizations, parametrize, prune

import pixelrnn_ext as px
from helpers.models import SIZES, all_images, generator, make_model
from pixelrnn_ext import sampling
from pixelrnn_ext.codec import Codec
from pixelrnn_ext.training.checkpoint import load_model

IMAGES = all_images()
pytestmark = pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated")


def model_of(kind, **options):
    return make_model(kind, dtype=torch.float32, **options).eval()


def recurrent_weight(model):
    layer = model.blocks[0].layer
    return layer, "weight_hh" if hasattr(layer, "weight_hh") else "weight"


def on_weights(function):
    def change(model):
        function(*recurrent_weight(model))
        function(model.head[-1], "weight")

    return change


def compile_block(model, **options):
    model.blocks[1] = torch.compile(model.blocks[1], backend="eager", **options)


def checkpoint_block(model, implementation=CheckpointImpl.NO_REENTRANT):
    model.blocks[0] = checkpoint_wrapper(model.blocks[0], checkpoint_impl=implementation)


class Doubled(nn.Module):
    """Doubles the weight, which shows how often a parametrisation is applied."""

    def forward(self, weight):
        return 2 * weight


def hook(module, function):
    module.register_forward_hook(lambda module, inputs, output: function(output))


def hook_of(function):
    return lambda model: hook(model.blocks[0].output, function)


CHANGES = {
    "old weight_norm": on_weights(nn.utils.weight_norm),
    "weight_norm": on_weights(parametrizations.weight_norm),
    "old spectral_norm": on_weights(nn.utils.spectral_norm),
    "spectral_norm": on_weights(parametrizations.spectral_norm),
    "pruned": on_weights(lambda layer, name: prune.l1_unstructured(layer, name, amount=0.4)),
    "doubled": on_weights(lambda layer, name: parametrize.register_parametrization(layer, name, Doubled())),
    "ReLU hook": hook_of(lambda y: y.relu()),
    "ReLU hook of tensors": hook_of(lambda y: y.relu() if torch.is_tensor(y) else None),
    "sum hook": hook_of(lambda y: y + y),
    "ReLU pre-hook": lambda model: model.head[-1].register_forward_pre_hook(lambda module, inputs: (inputs[0].relu(),)),
    "statistics": hook_of(lambda y: print(y.mean(), y.shape)),
    "backward hook": lambda model: model.blocks[0].register_full_backward_hook(lambda *_: None),
    "old backward hook": lambda model: model.blocks[0].output.register_backward_hook(lambda *_: None),
    "hook of the model": lambda model: model.register_forward_hook(lambda *_: None),
    "block in place": lambda model: model.blocks[1].compile(backend="eager"),
    "compiled block": compile_block,
    "compiled whole": lambda model: compile_block(model, fullgraph=True),
    "checkpoint": checkpoint_block,
    "reentrant checkpoint": lambda model: checkpoint_block(model, CheckpointImpl.REENTRANT),
}
# The changes in one of these sets exclude each other, so a test makes at most one change of a set.
EXCLUSIVE = ({"old weight_norm", "weight_norm", "old spectral_norm", "spectral_norm", "pruned", "doubled"},
             {"checkpoint", "reentrant checkpoint"}, {"compiled block", "compiled whole", "block in place"},
             {"hook of the model", "compiled block", "compiled whole", "block in place"})  # fmt: skip
VIEWS = {
    "itself": lambda model: model,
    "EMA": lambda model: torch.optim.swa_utils.AveragedModel(model).module,
    "compiled": lambda model: torch.compile(model, backend="eager"),
    "copy": copy.deepcopy,
}


def check(model):
    with torch.no_grad():
        expected = model(IMAGES)
        log_prob = model.log_prob(IMAGES)
    got = model.incremental_logits(IMAGES)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-5 * float(expected.abs().max() + 1))
    draws = sampling.checked_draws(model, 16, (1, 2, 2), generator(), 1.0, None, None)
    with torch.no_grad():
        drawn = sampling.naive(model, draws)
    assert torch.equal(model.sample(16, (1, 2, 2), generator=generator()), drawn)
    codec = Codec(model)
    bits = -log_prob.double() / math.log(2)
    # The codec rounds weights by up to 2^-17, and codes a value in at most 24 bits.
    torch.testing.assert_close(codec.bits(IMAGES), bits, rtol=1e-2, atol=1e-2)
    assert torch.equal(codec.decompress(codec.compress(IMAGES)), IMAGES)
    assert torch.equal(model.incremental_logits(IMAGES), got), "a codec changes its model"


@pytest.mark.parametrize("change", CHANGES)
def test_a_change(change):
    model = model_of("pixelcnn" if "block" in change else "diagonal")
    CHANGES[change](model)
    check(model)


@pytest.mark.sweep
@settings(max_examples=40)
@given(
    st.sampled_from(["pixelcnn", "row", "diagonal"]),
    st.sets(st.sampled_from(sorted(CHANGES)), min_size=2, max_size=4),
    st.sampled_from(sorted(VIEWS)),
)
def test_changes_together(kind, changes, view):
    model = model_of(kind)
    hooked = {change for change in changes if "hook" in change or change == "statistics"}
    for group in EXCLUSIVE:
        changes = changes - set(sorted(changes & group)[1:])
    if hooked & changes and any("compiled" in change or "in place" in change for change in changes):
        changes = changes - hooked
    for change in sorted(changes, key=list(CHANGES).index):
        CHANGES[change](model)
    if view == "EMA" and any("old" in change or change == "pruned" for change in changes):
        # torch's class AveragedModel copies a model. It cannot copy a weight that a pre-hook computed, so the test
        # checks the model itself.
        view = "itself"
    check(VIEWS[view](model))


CONV = px.MaskedConv2d(1, 1, 1, "B")
NEVER_COMPILED = {
    "sample": lambda model: model.sample(2, (1, 2, 2), temperature=0),
    "Sampler": lambda model: px.Sampler(model, 2, (1, 2, 2), temperature=0).draw(),
    "sampling_plan": lambda model: px.sampling_plan(model, 2, (1, 2, 2)),
    "incremental_logits": lambda model: model.incremental_logits(IMAGES),
    "compress": lambda model: model.decompress(model.compress(IMAGES)),
    "Codec": lambda model: Codec(model).bits(IMAGES),
    "causality": lambda model: px.causality.receptive_field(CONV, (1, 2, 2), (0, 0, 0), layout="features"),
    "from_name": lambda model: px.from_name("mnist-diagonal-1-layer").levels,
    "pretrained": lambda model: px.pretrained("mnist5k-pixelcnn").levels,
    "load_model": lambda model: load_model("mnist5k-pixelcnn")[0].levels,
}


@pytest.mark.parametrize("call", NEVER_COMPILED.values(), ids=NEVER_COMPILED)
def test_a_compiled_caller(call):
    graphs = []

    def keep(graph, inputs):
        graphs.append(graph)
        return graph

    model = model_of("pixelcnn")
    expected, got = call(model), torch.compile(call, backend=keep)(model)
    assert torch.equal(got, expected) if isinstance(got, torch.Tensor) else got == expected
    assert not graphs
    torch._dynamo.reset()  # forgets the code that needs no whole graph
    with pytest.raises(torch._dynamo.exc.Unsupported, match="of pixelrnn_ext cannot be compiled"):
        torch.compile(call, backend=keep, fullgraph=True)(model)


def test_a_state_dict_that_is_loaded_is_drawn_from():
    """The pre-hook of the older weight_norm computes the weight from the loaded parameters."""
    trained, model = model_of("pixelcnn"), px.PixelCNN(**SIZES).eval()
    for one in (trained, model):
        nn.utils.weight_norm(one.head[-1])
    model.load_state_dict(trained.state_dict())
    assert torch.equal(model.incremental_logits(IMAGES), trained.incremental_logits(IMAGES))
    assert Codec(model).fingerprint == Codec(trained).fingerprint


def test_models_that_are_pruned_otherwise_have_other_fingerprints():
    pruned = []
    for amount in (0.3, 0.6):
        model = model_of("pixelcnn")
        prune.l1_unstructured(model.head[-1], "weight", amount=amount)
        pruned.append(model)
    first, second = (Codec(model).fingerprint for model in pruned)
    assert first != second
    prune.remove(pruned[0].head[-1], "weight")
    assert Codec(pruned[0]).fingerprint == first


def test_a_parametrised_model_is_coded_as_the_plain_one():
    plain, model = model_of("diagonal"), model_of("diagonal")
    CHANGES["doubled"](model)
    with torch.no_grad():
        for layer, name in (recurrent_weight(plain), (plain.head[-1], "weight")):
            getattr(layer, name).mul_(2)
    assert torch.equal(plain.decompress(model.compress(IMAGES)), IMAGES)


@pytest.mark.covering(1)
@pytest.mark.parametrize("wrap", sorted(EXCLUSIVE[1] | EXCLUSIVE[2]))
@pytest.mark.parametrize("kind", ["pixelcnn", "row"])
def test_a_file_of_a_wrapped_model_is_one_of_the_plain_model(kind, wrap):
    plain, wrapped = model_of(kind), model_of(kind)
    CHANGES[wrap](wrapped)
    for model in (wrapped, torch.compile(wrapped, backend="eager"), checkpoint_wrapper(wrapped)):
        file = Codec(model).compress(IMAGES)
        assert file == model.compress(IMAGES) == plain.compress(IMAGES) and torch.equal(plain.decompress(file), IMAGES)


def test_later_hooks_are_none_of_a_codec():
    model = model_of("pixelcnn")
    codec = Codec(model)
    file = codec.compress(IMAGES)
    hook(model.first, lambda y: y.relu())
    handle = nn.modules.module.register_module_forward_hook(lambda module, inputs, output: output * 2)
    try:
        assert codec.compress(IMAGES) == file and torch.equal(codec.decompress(file), IMAGES)
        with pytest.raises(TypeError, match="got mul in PixelCNN"):
            model.sample(1, (1, 2, 2))
    finally:
        handle.remove()
    assert not torch.equal(model.incremental_logits(IMAGES), model_of("pixelcnn").incremental_logits(IMAGES))


def doubling(module, inputs, output):
    return output * 2


def inverted_images(model):
    model.register_forward_pre_hook(lambda module, inputs: (1 - inputs[0], *inputs[1:]))


def add_the_images(model):
    model.register_forward_pre_hook(lambda module, inputs: setattr(module, "seen", inputs[0]))
    hook(model.blocks[0], lambda y: y + model.seen)


def hook_a_compiled_block(model):
    model.blocks[0].compile(backend="eager")
    model.blocks[0].register_forward_hook(doubling)


READS_IMAGES = "expected a PixelRNN that reads its images unchanged"
NOT_COMPILED = "expected no forward hook where modules are compiled, got one that blocks.0 calls"
# {name: (function that adds a hook, error of sampling, error of a codec if different)}
HOOKS = {
    "of a layer": (lambda m: m.blocks[0].layer.register_forward_hook(doubling), "got mul in blocks.0.layer (RowLSTM)"),
    "pre-hook": (
        lambda m: m.blocks[0].register_forward_pre_hook(lambda module, inputs: (inputs[0] * 2, inputs[1])),
        "got mul in blocks.0 (RecurrentBlock)",
    ),
    "of the model": (lambda m: m.register_forward_hook(doubling), "got mul in PixelRNN"),
    "pre-hook of the model": (inverted_images, READS_IMAGES),
    "NaN check": (
        lambda m: hook(m.head, lambda y: bool(y.isnan().any())),
        "got another computation in head (Head): it reads the values of a map",
    ),
    "of a compiled block": (hook_a_compiled_block, NOT_COMPILED),
    "the images": (add_the_images, READS_IMAGES, "got another computation in blocks.0 (RecurrentBlock)"),
}


@pytest.mark.parametrize("hook", HOOKS)
def test_hooks_that_the_steps_do_not_have_are_refused(hook):
    add, *messages = HOOKS[hook]
    model = model_of("row")
    add(model)
    for run, message in ((lambda: model.sample(1, (1, 2, 2)), messages[0]), (lambda: Codec(model), messages[-1])):
        with pytest.raises(TypeError, match=re.escape(message)):
            run()


def test_a_codec_has_copies_of_what_a_closure_leads_to():
    class Closed(px.PixelCNN):
        def __init__(self):
            super().__init__(**SIZES)
            layer = px.MaskedConv2d(10, 10, 3, "B")
            self.layers, self.closed = nn.ModuleList([layer]), lambda x: layer(x).relu()

        def logit_map(self, x, condition):
            return self.head(self.closed(self.first(x)))

    model = Closed()
    codec = Codec(model)
    file = codec.compress(IMAGES)
    with torch.no_grad():
        model.layers[0].weight.neg_()
    assert codec.compress(IMAGES) == file and torch.equal(codec.decompress(file), IMAGES)
    other = px.MaskedConv2d(10, 10, 3, "B")
    hook(model.first, lambda y: y + other(y))
    expected = "expected the model's own parameters to code with, got a tensor in masked_conv2d"
    with pytest.raises(TypeError, match=expected):
        Codec(model)


def test_a_hook_that_knows_its_module_by_identity_is_refused_by_a_codec_alone():
    """A codec computes with a copy of the model, whose modules the hook does not know."""
    model = model_of("pixelcnn")
    known = model.blocks[0].output
    model.blocks[0].output.register_forward_hook(lambda module, _, output: output.relu() if module is known else None)
    with torch.no_grad():
        torch.testing.assert_close(model.incremental_logits(IMAGES), model(IMAGES))
    with pytest.raises(TypeError, match="expected hooks that do the same to a copy of the model"):
        Codec(model)


@pytest.mark.parametrize(
    "hook",
    [
        inverted_images,
        lambda model: model.register_forward_hook(doubling),
        lambda model: model.large_model.register_forward_hook(doubling),
    ],
    ids=["pre-hook", "hook", "of the large one"],
)
def test_hooks_of_a_multi_scale_model(hook):
    model = px.MultiScalePixelRNN("row", **SIZES)
    model.register_forward_hook(lambda *_: None)
    file = model.compress(IMAGES)
    assert torch.equal(model.decompress(file), IMAGES)
    hook(model)
    for run in (lambda: model.sample(1, (1, 2, 2)), lambda: model.incremental_logits(IMAGES), lambda: Codec(model)):
        with pytest.raises(TypeError, match="expected (no hook that changes|a MultiScale|a PixelRNN|a network)"):
            run()


def test_hooks_of_the_upsampling_are_drawn_with_and_not_coded():
    model = px.MultiScalePixelRNN("row", **SIZES).eval()
    model.upsampling[0].register_forward_hook(doubling)
    with torch.no_grad():
        torch.testing.assert_close(model.incremental_logits(IMAGES), model(IMAGES))
    with pytest.raises(TypeError, match=re.escape("expected no hook of upsampling.0 to code with, got one")):
        Codec(model)


@pytest.mark.parametrize("backend", ["auto", "reference"])
def test_a_mode_that_makes_tensors_elsewhere_does_not_reach_sampling_and_coding(backend):
    for model in (model_of("diagonal", backend=backend), px.MultiScalePixelRNN("row", backend=backend, **SIZES)):
        images = model.sample(2, (1, 2, 2), generator=generator())
        file = model.compress(IMAGES)
        with torch.device("meta"):
            assert torch.equal(model.sample(2, (1, 2, 2), generator=generator()), images)
            assert model.compress(IMAGES) == file and torch.equal(model.decompress(file), IMAGES)
            assert Codec(model).bits(IMAGES).device.type == "cpu"


@pytest.mark.sweep
def test_the_module_of_ddp_and_a_sharded_model(tmp_path):
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        wrapped, sharded = DistributedDataParallel(model_of("pixelcnn")), model_of("pixelcnn")
        wrapped(IMAGES).sum().backward()
        assert torch.equal(wrapped.module.decompress(wrapped.module.compress(IMAGES)), IMAGES)
        assert wrapped.module.sample(1, (1, 2, 2)).shape == (1, 1, 2, 2)
        fully_shard(sharded, mesh=init_device_mesh("cpu", (1,)))
        for use in (lambda: sharded.sample(1, (1, 2, 2)), lambda: sharded.compress(IMAGES)):
            with pytest.raises(
                TypeError, match="^expected a model with whole parameters, got a shard of first.weight$"
            ):
                use()
    finally:
        distributed.destroy_process_group()
