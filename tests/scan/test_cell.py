"""Tests the LSTM cell of csrc/cell.h, with the sigmoid and tanh of the CPU kernels.

The expected values are the PixelRNN paper's formulas in 80 decimal digits.
"""

import math
from decimal import Decimal, localcontext
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st


class Type(NamedTuple):
    name: str
    width: int
    digits: int  # bits of the significand
    least_exponent: int

    @property
    def eps(self):
        return 2.0 ** (1 - self.digits)

    @property
    def least(self):
        return 2.0**self.least_exponent

    @property
    def largest(self):
        return (2 - self.eps) * 2.0 ** (1 - self.least_exponent)

    def values(self, bound=None):
        bounds = {"allow_nan": False} if bound is None else {"min_value": -bound, "max_value": bound}
        return st.floats(width=self.width, **bounds)

    def ulps(self, got, exact):
        exponent = max(math.frexp(float(exact))[1] - 1, self.least_exponent)
        return float(abs(Decimal(got) - exact) / Decimal(2) ** (exponent - self.digits + 1))


each_type = pytest.mark.parametrize(
    "number", [Type("float32", 32, 24, -126), Type("float64", 64, 53, -1022)], ids=lambda number: number.name
)
each_form = pytest.mark.parametrize("form", ["cell_backward", "cell_backward_by_slopes"])


def exact(function, x):
    with localcontext() as context:
        context.prec = 80
        # Beyond +-1000, sigmoid and tanh equal their limits in double precision.
        x = max(Decimal(-1000), min(Decimal(1000), Decimal(x)))
        if function == "sigmoid":
            return 1 / (1 + (-x).exp())
        if abs(x) < Decimal("1e-20"):
            return x - x**3 / 3
        e = (2 * x).exp()
        return (e - 1) / (e + 1)


@each_type
@given(data=st.data())
def test_sigmoid_and_tanh_are_right_to_3_ulp(core, number, data):
    x = data.draw(st.one_of(number.values(bound=number.largest), number.values(bound=32)))
    functions = getattr(core, number.name)
    tanh, sigmoid = functions.tanh(x), functions.sigmoid(x)
    assert -1 <= tanh <= 1 and number.ulps(tanh, exact("tanh", x)) <= 3
    expected = exact("sigmoid", x)
    if expected < 4 * Decimal(number.least):  # near or below the smallest normal number
        assert 0 <= sigmoid < 4 * number.least
    else:
        assert sigmoid <= 1 and number.ulps(sigmoid, expected) <= 3


@each_type
def test_sigmoid_and_tanh_saturate_and_keep_nan(core, number):
    functions = getattr(core, number.name)
    for large in (1000.0, number.largest, math.inf):
        assert functions.tanh(large) == functions.sigmoid(large) == 1 and functions.tanh(-large) == -1
        assert 0 <= functions.sigmoid(-large) < 4 * number.least
    assert math.isnan(functions.tanh(math.nan)) and math.isnan(functions.sigmoid(math.nan))


def gates(number, bound=None):
    return st.lists(number.values(bound), min_size=4, max_size=4)


def run(functions, z, c_prev):
    a = functions.activate(z)
    c = functions.next_c(a, c_prev)
    return a, c, functions.hidden_state(a, c)


@each_type
@given(data=st.data())
def test_the_cell_is_the_papers(core, number, data):
    z, c_prev = data.draw(gates(number, bound=50)), data.draw(number.values(bound=100))
    (i, f, g, o), c, h = run(getattr(core, number.name), z, c_prev)
    one, two, four = (Decimal(n * number.eps) for n in (1, 2, 4))
    for got, function, x in zip((i, f, g, o), ("sigmoid", "sigmoid", "tanh", "sigmoid"), z):
        assert number.ulps(got, exact(function, x)) <= 3
    with localcontext() as context:
        context.prec = 80
        i, f, g, o, tiny = (Decimal(v) for v in (i, f, g, o, number.least))
        assert abs(Decimal(c) - (f * Decimal(c_prev) + i * g)) <= two * (abs(f * Decimal(c_prev)) + abs(i * g)) + tiny
        expected = o * exact("tanh", c)
        assert abs(Decimal(h) - expected) <= four * abs(expected) + one * tiny


@each_type
@each_form
@given(data=st.data(), which=st.sampled_from(["dh", "dc"]))
def test_a_gradient_that_is_nan_stays_nan(core, number, form, data, which):
    z, c_prev = data.draw(gates(number, bound=10)), data.draw(number.values(bound=10))
    functions = getattr(core, number.name)
    a, c, _ = run(functions, z, c_prev)
    incoming = {"dh": 1.0, "dc": 1.0} | {which: math.nan}
    dz, dc_prev = getattr(functions, form)(a, c, c_prev, **incoming)
    assert all(map(math.isnan, (*dz[:3], dc_prev))) and math.isnan(dz[3]) == (which == "dh")
