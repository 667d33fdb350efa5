"""torch's sigmoid, tanh and exp round to the reference values of functions.py for every argument of the codec."""

import numpy as np
import pytest
import torch

from . import functions

# The codec's numbers lie between -256 and 256, and exp takes the difference of two.
LARGEST = {"sigmoid": 256, "tanh": 256, "exp": 512}
NAMES = pytest.mark.parametrize("name", list(functions.COUNT))


@pytest.mark.parametrize(("name", "distance"), [("sigmoid", 3.7e-14), ("tanh", 1.9e-10), ("exp", 1.5e-13)])
def test_no_value_comes_nearer_to_a_tie_than_any_implementation_errs(name, distance):
    assert functions.rounded(name)[1].min() > distance


@NAMES
def test_the_reference_is_constant_where_it_ends(name):
    values, _ = functions.rounded(name)
    end = {"sigmoid": 2**14, "tanh": 2**14, "exp": 0}[name]
    assert (values[-10_000:] == end).all()
    assert (np.diff(values) * (-1 if name == "exp" else 1) >= 0).all()


@NAMES
@pytest.mark.parametrize(
    ("layout", "threads"), [("contiguous", 1), ("contiguous", 2), ("strided", 1)], indirect=["threads"]
)
def test_torch(name, layout, threads):
    largest = LARGEST[name] << functions.BITS
    k = np.arange(-largest, 1 if name == "exp" else largest + 1)
    expected = functions.exp(-k) if name == "exp" else functions.signed(name, k)
    x = torch.from_numpy(k / 2.0**functions.BITS)
    x = x if layout == "contiguous" else torch.stack([x, x], 1)[:, 0]
    value = getattr(torch, name)(x).numpy() * 2.0 ** functions.PRECISION[name]
    got = np.floor(value + 0.5) if name == "exp" else np.round(value)  # rounds as the codec does
    assert (got == expected).all(), f"{name}: {np.count_nonzero(got != expected)} values are not rounded correctly"
