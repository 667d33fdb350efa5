"""What the tests of LSTM2d share: its variants, layers whose states and peepholes are not zero, and what they compute.

A test that takes ``backend`` from BACKENDS holds of every backend.
"""

import torch

import pixelrnn_ext as px
from checks import cotangent_of

BACKENDS = ["reference", "native"]
CORNERS = ("tl", "tr", "bl", "br")
# name -> (cell, peepholes)
VARIANTS = {cell: (cell, False) for cell in ("pixelrnn", "stable", "graves", "halved", "leaky", "max")} | {
    "graves-peepholes": ("graves", True),
    "halved-peepholes": ("halved", True),
}


def make_layer(variant, in_channels=2, hidden=3, *, directions=4, initial_state="learned", **options):
    """A float64 layer; a state that is learned, and a peephole, is not zero."""
    cell, peepholes = VARIANTS[variant]
    options = dict(dtype=torch.float64, initial_state=initial_state, peepholes=peepholes) | options
    layer = px.LSTM2d(in_channels, hidden, cell=cell, directions=directions, **options)
    for name, parameter in layer.named_parameters():
        if name.startswith(("h0", "c0", "peephole")):
            torch.nn.init.uniform_(parameter, -1, 1)
    return layer


def results(layer, x, sizes=None, cotangent=None):
    """{name: tensor} of the output and of the gradients of the input and all parameters."""
    x = x.clone().requires_grad_()
    y = layer(x, sizes)
    cotangent = cotangent_of(y) if cotangent is None else cotangent
    leaves = {"input": x, **dict(layer.named_parameters())}
    return {"output": y.detach(), **dict(zip(leaves, torch.autograd.grad(y, list(leaves.values()), cotangent)))}


def ragged(n, height, width):
    """Sizes of n images, of which one fills the map, where there are so many, and one is a row or so."""
    return torch.tensor([(height, width), (-(-height // 2), max(1, width - 1)), (1, -(-width // 3))] * n)[:n]
