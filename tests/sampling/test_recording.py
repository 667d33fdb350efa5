import sys
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import pixelrnn_ext as px
from helpers.checks import assert_close
from helpers.models import SIZES, make_model
from pixelrnn_ext.incremental.recording import record

CALLS = {
    "sample": lambda model: model.sample(2, (1, 2, 4)),
    "complete": lambda model: model.sample(1, (1, 2, 2), given=torch.ones(1).int(), known=torch.ones(1).bool()),
    "logits": lambda model: model.incremental_logits(torch.zeros(1, 1, 2, 4).long()),
    "code": lambda model: model.decompress(model.compress(torch.zeros(1, 1, 2, 4).long())),
}


def snapshot(model):
    return [
        {key: tuple(value.items()) if isinstance(value, dict) else value for key, value in vars(module).items()}
        for module in model.modules()
    ]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("name", ["pixelcnn", "multiscale-row"])
def test_nothing_global_changes_at_any_moment(name, call):
    model, methods = make_model(name), ("__call__", "__getattr__", "__setattr__", "__delattr__")
    before, attributes, wrong = [nn.Module.__dict__[name] for name in methods], snapshot(model), []

    def look(frame, event, argument):
        if event == "call" and any(nn.Module.__dict__[name] is not b for name, b in zip(methods, before)):
            wrong.append(frame.f_code.co_name)

    sys.setprofile(look)
    try:
        CALLS[call](model)
    finally:
        sys.setprofile(None)
    assert not wrong
    assert all(
        a.keys() == b.keys() and all(a[k] is b[k] or a[k] == b[k] for k in a)
        for a, b in zip(attributes, snapshot(model))
    )


class Wired(px.PixelCNN):
    """A network with layers in a list, a closure, a bound method and an `nn.Sequential` with `weight_norm`."""

    def __init__(self):
        super().__init__(**SIZES)
        width = 2 * SIZES["hidden_channels"]
        layers = [px.MaskedConv2d(width, width, 3, "B") for _ in range(4)]
        self.all = nn.ModuleList(layers)
        self.listed, self.bound = layers[:1], layers[1].forward
        self.closed = lambda x: F.relu(layers[2](x))
        self.container = nn.Sequential(nn.ReLU(), nn.utils.parametrizations.weight_norm(layers[3]), nn.Identity())

    def logit_map(self, x, condition):
        y = self.listed[0](self.first(x))
        return self.head(self.container(y + self.closed(self.bound(input=y))))


class RowThenConvolution(px.PixelRNN):
    """A 3x3 convolution after a Row LSTM, which must read zeros outside the image, not the LSTM's border state."""

    def __init__(self):
        super().__init__("row", image_channels=3, levels=7, hidden_channels=5, num_layers=1, head_channels=7)
        self.convolution = px.MaskedConv2d(5, 10, 3, "B", image_channels=3)
        nn.init.uniform_(self.blocks[0].layer.h0, -1, 1)

    def logit_map(self, x, condition):
        return self.head(self.convolution(self.blocks[0].layer(self.first(x), None)))


class Own(px.PixelCNN):
    def __init__(self):
        super().__init__(**SIZES)

    def forward(self, images, condition=None):
        self._check_images(images)
        return self._by_level(self.logit_map(self.scaled(images.long()), condition))


def check_logits(model, *inputs):
    with torch.no_grad():
        assert_close("logits", model(*inputs), model.incremental_logits(*inputs), 1e-12)


@pytest.mark.parametrize("backend", ["auto", "reference"])
@pytest.mark.parametrize("network", [Wired, RowThenConvolution, Own])
def test_a_network_of_another_wiring(network, backend):
    model = network().double()
    model.backend = backend
    images = torch.randint(model.levels, (2, model.image_channels, 4, 5))
    check_logits(model, images)
    assert torch.equal(model.decompress(model.compress(images)), images)


def test_a_recording_names_the_modules_of_a_list():
    convolutions = [operation.module for operation in record(Wired(), False).layers()]
    assert convolutions[:2] == ["first (MaskedConv2d)", "all.0 (MaskedConv2d)"]


class WithMap(px.PixelCNN):
    """A PixelCNN that applies ``change`` to two maps: y, the output of the first layer, and the embedded condition."""

    def __init__(self, change):
        super().__init__(**SIZES, condition_channels=2)
        self.embedding = nn.Conv2d(2, self.first.out_channels, 1)
        self.one = px.MaskedConv2d(self.first.out_channels, 1, 1, "B")
        self.relu, self.change = nn.ReLU(inplace=True), change

    def logit_map(self, x, condition):
        y = self.change(self, self.first(x), self.embedding(condition))
        return self.head(self.blocks[0](y, condition))


def swapped(map):
    (first, _), (_, second) = map.chunk(2, 1), map.chunk(chunks=2, dim=1)
    return torch.cat([second, first], 1)


CHANGES = {
    "add_": lambda _, y, cond: cond.add_(y),
    "augmented": lambda _, y, cond: [y := y, y.__iadd__(cond)][1],
    "relu_": lambda _, y, cond: torch.relu_(cond) + y,
    "relu_ of a tensor": lambda _, y, cond: cond.relu_() + y,
    "relu, inplace": lambda _, y, cond: F.relu(cond, inplace=True) + y,
    "relu, True": lambda _, y, cond: F.relu(cond, True) + y,
    "ReLU, inplace": lambda model, y, cond: model.relu(cond) + model.relu(y),
    "a map for all pixels": lambda _, y, cond: y + cond.mean((2, 3), keepdim=True).expand(-1, -1, 14, 5),
    "casts": lambda _, y, cond: y + cond.float().to(y.dtype).double(),
    "a map of one channel": lambda _, y, cond: y + cond.mean(1, keepdim=True),
    "a part of the map": lambda _, y, cond: cond.chunk(2, 1)[0].repeat(1, 2, 1, 1) + y,
    "parts of the map": lambda _, y, cond: swapped(cond) + y,
}


@pytest.mark.parametrize("change", CHANGES)
def test_maps_that_are_known_and_changes_that_nothing_else_sees(change, monkeypatch):
    model = WithMap(CHANGES[change]).double()
    images, condition = torch.randint(2, (2, 1, 14, 5)), torch.randn(2, 2, 14, 5, dtype=torch.float64)
    check_logits(model, images, condition)
    # The models of the changes "a map for all pixels" and "a map of one channel" call mean() on a feature map, which a
    # codec does not support.
    if "a map" not in change:
        monkeypatch.setattr("pixelrnn_ext.codec.coding._PIXELS_PER_PASS", 5)  # the codec computes in bands of rows
        assert torch.equal(model.decompress(model.compress(images, condition), condition), images)


def changed(function):
    return lambda _, y, cond: (function(y), y)[1]


def halve(y):
    y *= 0.5


def halve_data(y):
    y.data = y.data / 2


@torch.library.custom_op("tests_recording::halved_in_place", mutates_args={"y"})
def halved_in_place(y: torch.Tensor) -> None:
    y.mul_(0.5)


# {name: (in-place change, operation that the error names)}
IN_PLACE = {
    "a relu_ that is read": (lambda _, y, cond: torch.relu_(y) + y, "relu_"),
    "an add_ that is read": (lambda _, y, cond: y.add_(y) + y, "add_"),
    "mul_": (changed(lambda y: y.mul_(2)), "mul_"),
    "an augmented product": (changed(halve), "mul_"),
    "data": (changed(halve_data), "__set__"),
    "an item": (changed(lambda y: y.__setitem__(0, 0)), "__setitem__"),
    "out": (changed(lambda y: torch.mul(y, 2, out=y)), "mul"),
    "a view": (changed(lambda y: y.permute(0, 2, 3, 1).add_(1)), "add_"),
    "an operator": (changed(lambda y: torch.ops.aten.mul_.Tensor(y, 2)), "mul_.Tensor"),
    "a list": (changed(lambda y: torch._foreach_mul_([y], 2)), "_foreach_mul_"),
    "the condition": (lambda _, y, cond: y + cond.copy_(cond), "copy_"),
    "an alias": (lambda _, y, cond: (part := cond[:, :10], cond.relu_(), y + part)[-1], "relu_"),
    "what a cast may alias": (lambda _, y, cond: (same := cond.to(cond.dtype), cond.add_(cond), y + same)[-1], "add_"),
    "a custom operator": (changed(halved_in_place), ""),
}
REFUSED = {
    "tanh": (lambda _, y, cond: y.tanh(), "got tanh in WithMap"),
    "a product": (lambda _, y, cond: y * cond, "got mul in WithMap"),
    "a number": (lambda _, y, cond: y + 1, "got add in WithMap"),
    "a tensor": (lambda _, y, cond: y + torch.ones(1, 10, 1, 1), "got (a tensor in )?add in WithMap"),
    "a part": (lambda _, y, cond: y[:, :5].repeat(1, 2, 1, 1), "got __getitem__ in WithMap"),
    "values": (lambda _, y, cond: y if y.mean() > 0 else cond, "another computation in WithMap: it reads the values"),
    "rows": (lambda _, y, cond: sum(y) + cond, "another computation in WithMap: it reads how many parts a value has"),
    "memory": (changed(lambda y: y.set_(y * 2)), "another computation in WithMap: it changes the memory of a map"),
    "ReLU by name": (lambda _, y, cond: torch.relu(input=y) + cond, "got relu in WithMap"),
    "a map of more channels": (lambda model, y, cond: model.one(y) + cond, "got add in WithMap"),
    "images of unlike sizes": (
        lambda _, y, cond: px.RowLSTM(10, 10)(y, sizes=torch.ones(1, 2, dtype=torch.int64)),
        "another computation in RowLSTM: it gives a layer sizes",
    ),
    "an LSTM of four corners": (lambda _, y, cond: px.LSTM2d(10, 10)(y), "another computation in LSTM2d"),
    **{name: (change, f"changes no value in place, got {got}") for name, (change, got) in IN_PLACE.items()},
}


@pytest.mark.parametrize("change", REFUSED)
def test_what_a_recording_cannot_hold_is_refused(change):
    function, message = REFUSED[change]
    model, condition = WithMap(function), torch.zeros(1, 2, 1, 1)
    for run in (
        lambda: model.sample(1, (1, 2, 2), condition=condition),
        lambda: model.compress(torch.zeros(1, 1, 2, 2).long(), condition),
    ):
        with pytest.raises(TypeError, match=message):
            run()


def test_what_a_recording_cannot_hold_may_be_computed_for_nothing():
    model = WithMap(lambda _, y, cond: (y.std(), y.shape, repr(y), y + cond)[-1])
    assert model.sample(1, (1, 2, 2), condition=torch.zeros(1, 2, 1, 1)).shape == (1, 1, 2, 2)


@pytest.mark.parametrize("attribute", ["statistic", "kept", "new"])
def test_no_recorded_value_stays_in_a_module(attribute):
    model = px.PixelCNN(**SIZES)
    model.register_buffer("statistic", torch.zeros(10))
    model.kept = None
    model.first.register_forward_hook(lambda module, _, output: setattr(model, attribute, output.mean((0, 2, 3))))
    before = getattr(model, attribute, "nothing")
    model.sample(1, (1, 2, 2))
    assert getattr(model, attribute, "nothing") is before
    model(torch.zeros(1, 1, 2, 2).long())
    assert torch.is_tensor(getattr(model, attribute))


def test_a_cast_to_the_dtype_of_a_bfloat16_model():
    """Steps compute in float32, even if the network casts to the model's dtype, bfloat16."""
    model, images = WithMap(lambda _, y, cond: y + cond.to(y.dtype)).bfloat16(), torch.zeros(1, 1, 2, 2).long()
    condition = torch.ones(1, 2, 1, 1).bfloat16()
    got = model.incremental_logits(images, condition)
    with torch.no_grad():
        assert_close("logits", model.double()(images, condition.double()), got, 1e-5)


FORWARDS = {
    "halved": lambda forward, images, condition: forward(images, condition) / 2,
    "shifted": lambda forward, images, condition: forward(1 - images, condition),
    "other": lambda forward, images, condition: torch.zeros(*images.shape[:1], 1, *images.shape[1:]),
}


@pytest.mark.parametrize("forward", FORWARDS)
def test_a_forward_that_is_more_than_the_network_is_refused(forward):
    model = px.PixelCNN(**SIZES)
    model.forward = partial(FORWARDS[forward], model.forward)
    with pytest.raises(TypeError, match="expected a PixelCNN that|expected a network of"):
        model.sample(1, (1, 2, 2))
