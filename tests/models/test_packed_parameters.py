"""Tests that a model that packs the parameters of all layers at once computes what its layers compute alone.

Only a GPU packs them at once. Here a CPU does, so its kernels show the values.
"""

import contextlib
import copy
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch.nn.utils import parametrizations, prune, weight_norm
from torch.utils.checkpoint import checkpoint

import pixelrnn_ext as px
from helpers.models import generator
from pixelrnn_ext.models import packed_parameters
from pixelrnn_ext.operators.scan.packing import Packer


@pytest.fixture
def packers(monkeypatch):
    """Makes a CPU pack. Returns the list of packers that packed."""
    calls, pack = [], Packer.__call__

    def recorded(packer, *arguments):
        calls.append(packer)
        return pack(packer, *arguments)

    monkeypatch.setattr(packed_parameters, "_has_gpu_kernels", lambda x, backend: backend != "reference")
    monkeypatch.setattr(Packer, "__call__", recorded)
    return calls


def make(kind="diagonal", colours=3, **options):
    sizes = dict(levels=4, hidden_channels=6, num_layers=3, head_channels=6)
    model = px.PixelRNN(kind, image_channels=colours, **sizes, **options).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator(), dtype=torch.float64), alpha=0.1)
    return model


def images(model):
    return torch.randint(4, (2, model.image_channels, 4, 5), generator=generator())


def alone(model, *inputs):
    """Returns the logits of a model whose layers pack their own parameters."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packed_parameters, "_has_gpu_kernels", lambda x, backend: False)
        return model(*inputs)


def gradients(logits, model):
    model.zero_grad()
    logits.square().sum().backward()
    return [parameter.grad.clone() for parameter in model.parameters() if parameter.requires_grad]


def check(model, *inputs):
    expected, got = alone(model, images(model), *inputs), model(images(model), *inputs)
    assert torch.equal(got, expected)
    assert all(map(torch.equal, gradients(got, model), gradients(expected, model)))


@pytest.mark.parametrize("conditional", [False, True], ids=["", "conditional"])
@pytest.mark.parametrize("state", ["learned", "zero"])
@pytest.mark.parametrize("colours", [1, 3])
@pytest.mark.parametrize("kind", ["row", "diagonal"])
def test_values_and_gradients(kind, colours, state, conditional, packers):
    model = make(kind, colours, initial_state=state, condition_channels=2 * conditional)
    check(model, *[torch.randn(2, 2, 1, 1, dtype=torch.float64)] * conditional)
    check(model, *[torch.randn(2, 2, 1, 1, dtype=torch.float64)] * conditional)
    assert len(packers) == 2 and packers[0] is packers[1]


def test_the_first_call_may_be_in_inference_mode(packers):
    model = make()
    with torch.inference_mode():
        model(images(model))
    check(model)
    assert packers


def test_copies_pack_anew(packers):
    model = make()
    check(model)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        check(other)
    assert len(set(map(id, packers))) == 3


def test_replicas_in_threads_each_use_the_packer_of_their_device(packers, monkeypatch):
    """nn.DataParallel copies a module's attributes to its replicas, so these share one PackedParameters."""
    model, both_have_packed, inference_mode = make(), threading.Barrier(2), torch.inference_mode
    replicas = [model, copy.deepcopy(model).to("meta")]

    @contextlib.contextmanager
    def until_both_have_packed(mode):
        with inference_mode(mode):
            yield
        both_have_packed.wait(5)

    def pack(replica):
        x = torch.zeros(1, 12, 4, 5, dtype=torch.float64, device=next(replica.parameters()).device)
        return {operand.device for operands in model._packed(replica.blocks, "auto", x) for operand in operands[:2]}

    monkeypatch.setattr(torch, "inference_mode", until_both_have_packed)
    with ThreadPoolExecutor(2) as pool:
        for _ in range(3):
            assert list(pool.map(pack, replicas)) == [{torch.device("cpu")}, {torch.device("meta")}]
    assert len(packers) == 6 and len(set(map(id, packers))) == 2


def other_mask(model):
    model.blocks[1].layer.mask_type = "A"


def other_states(model):
    model.blocks[1].layer = px.DiagonalBiLSTM(12, 6, image_channels=3, initial_state="zero").double()


def fewer_blocks(model):
    model.blocks = model.blocks[:2]


def tied(model):
    model.blocks[1].layer = model.blocks[0].layer


@pytest.mark.parametrize("change", [other_mask, other_states, fewer_blocks, tied])
def test_a_changed_model_packs_its_new_parameters(change, packers):
    model = make()
    check(model)
    change(model)
    check(model)
    assert len(packers) == 2


class Checkpointed(torch.nn.Module):
    def __init__(self, block):
        super().__init__()
        self.block = block

    def forward(self, x, condition):
        return checkpoint(self.block, x, condition, use_reentrant=True)


class OwnLayer(px.DiagonalBiLSTM):
    def forward(self, input, gate_bias=None, sizes=None):
        return super().forward(input, gate_bias, sizes).tanh()


def pruned(model):
    prune.l1_unstructured(model.blocks[0].layer, "weight_hh", 0.5)


def weight_norm_by_hook(model):
    weight_norm(model.blocks[0].layer, "weight_hh")


def weight_norm_by_parametrization(model):
    parametrizations.weight_norm(model.blocks[1].layer, "weight_hh")


def wrapped(model):
    for i, block in enumerate(model.blocks):
        model.blocks[i] = Checkpointed(block)


def own_layer(model):
    model.blocks[0].layer = OwnLayer(12, 6, image_channels=3).double()


def another_kind_of_layer(model):
    model.blocks[0].layer = px.DiagonalLSTM(12, 6, image_channels=3).double()


def frozen(model):
    model.blocks[0].requires_grad_(False)


def another_backend(model):
    model.blocks[0].layer.backend = "reference"


CHANGES = [
    pruned,
    weight_norm_by_hook,
    weight_norm_by_parametrization,
    wrapped,
    own_layer,
    another_kind_of_layer,
    frozen,
]
CHANGES += [another_backend]


@pytest.mark.parametrize("change", CHANGES)
def test_layers_pack_alone_where_packing_at_once_would_differ(change, packers):
    model = make()
    change(model)
    for scale in (1, 2):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(scale)
        check(model)
    assert not packers


def test_transforms_keep_no_packer(packers):
    model = make()
    parameters = dict(model.named_parameters())

    def loss(parameters):
        return torch.func.functional_call(model, parameters, (images(model),)).square().sum()

    got = torch.func.grad(loss)(parameters)
    assert not packers
    assert all(map(torch.equal, got.values(), gradients(alone(model, images(model)), model)))
    with torch.autograd.forward_ad.dual_level():
        model(images(model))
    assert not packers
