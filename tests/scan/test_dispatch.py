"""A layer is one operator, forward and backward, on a CPU as on a GPU: no operand is copied before it."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import pixelrnn_ext as px
from pixelrnn_ext.operators import backends, library


class Operations(TorchDispatchMode):
    """The names of what runs, but views and allocations."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        makes_a_tensor = any("Tensor" in str(result.type) for result in function._schema.returns)
        if makes_a_tensor and not function.is_view and name not in ("_unsafe_view", "new_empty", "empty_like"):
            self.names.append(name)
        return function(*args, **(kwargs or {}))


# Meta tensors stand for a GPU's.
@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.skipif(library.why_no_native() is not None, reason=str(library.why_no_native()))
def test_a_layer_is_one_operator(device, monkeypatch):
    monkeypatch.setattr(backends, "why_not_native", lambda device: None)
    layer = px.DiagonalLSTM(8, 16, bias=False, device=device)
    x = torch.randn(2, 8, 5, 6, device=device, requires_grad=True)
    with Operations() as forward:
        y = layer(x)
    cotangent = torch.ones_like(y)
    with Operations() as backward:
        torch.autograd.grad(y, [x, *layer.parameters()], cotangent)
    assert (forward.names, backward.names) == (["scan"], ["scan_gradients"])
