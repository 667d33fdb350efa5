"""Comparison of tensors, and the cases that the tests share."""

import itertools
from contextlib import contextmanager

import pytest
import torch
from torch.library import opcheck

import pixelrnn_ext as px
from pixelrnn_ext.operators import library

# Relative to a result in float64. In units of rounding, 2^-53 and 2^-24, these are 90 and 34. A sum of n products errs
# by about sqrt(n) units, and the longest sum, a weight's gradient, has 840: 29 units, or 41 where both sides err.
RATIO = {torch.float64: 1e-14, torch.float32: 2e-6}

native = pytest.mark.skipif(library.why_no_native() is not None, reason=str(library.why_no_native()))


def assert_close(name, expected, got, ratio):
    """RMS of the error over the RMS of what is expected."""
    assert got.shape == expected.shape, f"{name}: expected shape {tuple(expected.shape)}, got {tuple(got.shape)}"
    assert not got.isnan().any(), f"{name}: NaN"
    error = (got.double() - expected.double()).square().mean().sqrt()
    scale = expected.double().square().mean().sqrt()
    assert got.numel() == 0 or error <= ratio * scale, f"{name}: error ratio {error / scale:.1e}, at most {ratio:.0e}"


def assert_all_close(expected, got, ratio):
    """Compares {name: tensor} with another, tensor by tensor, as :func:`assert_close` does."""
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
    """torch.library.opcheck without the trace of the operator's derivatives, which takes seconds."""
    cheap = "test_schema", "test_autograd_registration", "test_faketensor"
    opcheck(operator, arguments, test_utils=cheap)


def cotangent_of(y):
    """Returns random float32 numbers, the same for every map of a shape. Sums over an even ramp would cancel."""
    return torch.randn(y.shape, generator=torch.Generator().manual_seed(0)).to(y.dtype)


def subsets(names):
    """All subsets of names but the empty one."""
    return [s for n in range(1, len(names) + 1) for s in itertools.combinations(names, n)]


def draw_states(module):
    """Makes initial states and peepholes that are parameters random, since they are zero at first."""
    for name, parameter in module.named_parameters():
        if name.rpartition(".")[2].startswith(("h0", "c0", "peephole")):
            torch.nn.init.uniform_(parameter, -1, 1)
