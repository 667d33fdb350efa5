"""Comparisons of tensors, and other small tools that many tests share."""

import itertools
from contextlib import contextmanager

import pytest
import torch
from torch.library import opcheck
from torch.utils._python_dispatch import TorchDispatchMode

import pixelrnn_ext as px
from pixelrnn_ext.operators import library

# Error bounds for assert_close: 90 unit roundoffs in float64, 34 in float32. A sum of n products errs by about sqrt(n)
# unit roundoffs, which is 29 for the tests' longest sum.
RATIO = {torch.float64: 1e-14, torch.float32: 2e-6}

native = pytest.mark.skipif(library.why_no_native() is not None, reason=str(library.why_no_native()))


def assert_close(name, expected, got, ratio):
    """Asserts RMS(got - expected) <= ratio * RMS(expected), where RMS is the root mean square."""
    assert got.shape == expected.shape, f"{name}: expected shape {tuple(expected.shape)}, got {tuple(got.shape)}"
    assert not got.isnan().any(), f"{name}: NaN"
    error = (got.double() - expected.double()).square().mean().sqrt()
    scale = expected.double().square().mean().sqrt()
    assert got.numel() == 0 or error <= ratio * scale, f"{name}: error ratio {error / scale:.1e}, at most {ratio:.0e}"


def assert_all_close(expected, got, ratio):
    assert got.keys() == expected.keys()
    for name, tensor in expected.items():
        assert_close(name, tensor, got[name], ratio)


@contextmanager
def using_instruction_set(name):
    before = px.build_config()["instruction_set"]
    library.set_instruction_set(name)
    try:
        yield
    finally:
        library.set_instruction_set(before)


def opcheck_untraced(operator, arguments):
    """Runs torch.library.opcheck without its slow check, which traces derivatives."""
    opcheck(operator, arguments, test_utils=("test_schema", "test_autograd_registration", "test_faketensor"))


def randn64(*size):
    return torch.randn(*size, dtype=torch.float64)


def cotangent_of(y):
    """Returns a random gradient with respect to ``y``, the same for every y of this shape and dtype."""
    return torch.randn(y.shape, generator=torch.Generator().manual_seed(0)).to(y.dtype)


def subsets(names):
    return [s for n in range(1, len(names) + 1) for s in itertools.combinations(names, n)]


class OperatorRecorder(TorchDispatchMode):
    """Records the names of the operators that are called in its ``with`` block and satisfy ``condition``."""

    def __init__(self, condition):
        super().__init__()
        self.condition, self.names = condition, []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if self.condition(function):
            self.names.append(function.overloadpacket.__name__)
        return function(*args, **(kwargs or {}))


def launches_kernel(function):
    without = "_unsafe_view", "new_empty", "empty_like", "promote_types"
    return not function.is_view and function.overloadpacket.__name__ not in without


def draw_states(module):
    """Gives random values to a module's initial states and peepholes, which are zero in a new module."""
    for name, parameter in module.named_parameters():
        if name.rpartition(".")[2].startswith(("h0", "c0", "peephole")):
            torch.nn.init.uniform_(parameter, -1, 1)
