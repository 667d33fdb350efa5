"""Layers that an earlier version wrote (known/make_layers.py) load, and compute what they computed.

Whole models, and their checkpoints, are in codec/test_known_files.py.
"""

import pytest
import torch
from safetensors.torch import load_file

from helpers.checks import assert_close
from helpers.scans import BACKENDS

from .known.make_layers import FILE, LAYERS


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", LAYERS)
def test_a_known_layer_computes_what_it_did(name, backend):
    tensors, layer = load_file(FILE), LAYERS[name]()
    layer.backend = backend
    state = {key.removeprefix(f"{name}/"): t for key, t in tensors.items() if key.startswith(f"{name}/")}
    expected = state.pop("output")
    layer.load_state_dict(state)
    with torch.no_grad():
        assert_close("output", expected, layer(tensors["input"]), 1e-14)
