import pytest
import torch

from pixelrnn_ext.codec import Codec, self_check
from pixelrnn_ext.incremental.grid import PROFILES

from . import functions
from .examples import model_of


@pytest.mark.parametrize("name", functions.COUNT)
def test_the_values_nearest_to_a_tie_are_checked(name):
    values, _ = functions.rounded(name)
    nearest = [k for k in functions.nearest_to_ties(name, 33) if k][:32]
    assert self_check.NEAR_TIES[name] == {k: values[k] for k in nearest}


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "exp"])
def test_a_function_with_errors_is_noticed(name, monkeypatch):
    exact = getattr(torch, name)
    self_check.check.cache_clear()
    for where in (torch, torch.Tensor):
        monkeypatch.setattr(where, name, lambda x: exact(x) * (1 + 3e-9))
    with pytest.raises(RuntimeError, match=f"files cannot be coded here: {name} is not computed"):
        self_check.check("reference", PROFILES[0])


def test_a_product_in_fewer_bits_is_noticed(monkeypatch):
    self_check.check.cache_clear()
    monkeypatch.setattr(torch, "addmm", lambda total, left, right: (left.float() @ right.float()).double())
    with pytest.raises(RuntimeError, match="files cannot be coded here: a matrix product of integers"):
        self_check.check("auto", PROFILES[0])


def test_every_network_is_checked(monkeypatch):
    checked = []
    monkeypatch.setattr(self_check, "check", lambda backend, grid: checked.append(backend))
    Codec(model_of("multiscale-row", small=dict(backend="reference")))
    assert {"auto", "reference"} <= set(checked)
