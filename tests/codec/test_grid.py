import math
from fractions import Fraction

import pytest
import torch

from helpers.checks import native, using_instruction_set
from pixelrnn_ext.incremental.grid import PROFILES, on_grid
from pixelrnn_ext.operators import columns, library


@pytest.fixture(params=["PyTorch", *library.instruction_sets()])
def arithmetic(request, monkeypatch):
    if request.param == "PyTorch":
        monkeypatch.setattr(library, "why_no_native", lambda: "none")
        yield
    else:
        with using_instruction_set(request.param):
            yield


def numbers(bits):
    """Returns ties of rounding to multiples of 2^-bits, their neighbours in float64, and other numbers."""
    units = torch.arange(-70, 70).double() / 2
    units = torch.cat([units, *(units * 2.0**k for k in (20, 47, 48, 49, 50, 51, 60))])
    units = torch.cat([units, torch.randn(99, dtype=torch.float64) * 2**9])
    return torch.cat([units, units.nextafter(units + 1), units.nextafter(units - 1)]) * 2.0**-bits


def exact(x, bits, limit):
    x = Fraction(round(Fraction(x) * 2**bits), 2**bits)
    return float(x if limit == math.inf else min(max(x, -Fraction(limit)), Fraction(limit)))


@pytest.mark.parametrize("limit", [math.inf, 256.0])
@pytest.mark.parametrize("bits", [0, 14, 30])
def test_numbers_are_rounded_as_fractions_are(bits, limit, arithmetic):
    x = numbers(bits)
    expected = torch.tensor([exact(value, bits, limit) for value in x.tolist()], dtype=torch.float64)
    for count in (0, 1, 2, 3, 5, 7, 8, 9, len(x)):
        assert torch.equal(on_grid(x[:count], bits, limit), expected[:count])


def test_no_numbers_and_infinity(arithmetic):
    x = torch.tensor([math.nan, math.inf, -math.inf], dtype=torch.float64)
    torch.testing.assert_close(PROFILES[0].quantized(x), x.clamp(-256, 256), equal_nan=True, rtol=0, atol=0)
    torch.testing.assert_close(PROFILES[0].rounded(x), x, equal_nan=True, rtol=0, atol=0)


@pytest.mark.parametrize("size", [(40, 3, 31, 33), (2, 3, 4, 5)], ids=["several shares", "one share"])
def test_any_layout_is_rounded_in_place(size, arithmetic):
    grid, x = PROFILES[0], 200 * torch.randn(size, dtype=torch.float64)
    expected = (x * 2**14).round().mul(2**-14).clamp(-256, 256)
    for view in (lambda t: t, lambda t: t.transpose(0, 3), lambda t: t[:, 1:], lambda t: t[:0], lambda t: t.mT[..., 0]):
        written = x.clone()
        assert torch.equal(grid.quantized(view(written)), view(expected)) and torch.equal(written, x)
        assert grid.quantize_(view(written)).shape == view(x).shape
        assert torch.equal(view(written), view(expected))
    assert torch.equal(grid.quantized(x[:1].expand(7, -1, -1, -1)), expected[:1].expand(7, -1, -1, -1))
    assert torch.equal(grid.clamped(grid.rounded(x)), expected)


@native
def test_what_the_operator_refuses():
    x = torch.zeros(4, 4, dtype=torch.float64)
    for tensor in (x.float(), x.t()[:3], x.long()):
        with pytest.raises(RuntimeError, match="round_to_grid: expected contiguous numbers of float64"):
            columns.round_to_grid(tensor, 14, 256.0)
    for bits, limit in ((-1, 256.0), (53, 256.0), (14, -1.0), (14, math.nan)):
        with pytest.raises(RuntimeError, match="round_to_grid: expected 0 to 52 bits and a limit >= 0, got"):
            columns.round_to_grid(x, bits, limit)
