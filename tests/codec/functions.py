"""Computes the codec's sigmoid, tanh and exp with integers alone, and rounds each value correctly.

The argument is k * 2^-14 for an integer k. sigmoid and tanh are rounded to multiples of 2^-14, and exp(-x) to multiples
of 2^-24. All three are computed from the powers of exp(-2^-14), whose error is less than 2^-135.
"""

import math
from functools import cache

import numpy as np

BITS = 14  # binary digits of an argument after the point
PRECISION = {"sigmoid": 14, "tanh": 14, "exp": 24}  # binary digits of a value after the point
# The rounded function is constant from COUNT * 2^-BITS on.
COUNT = {"sigmoid": 18 << BITS, "tanh": 9 << BITS, "exp": 18 << BITS}
_ONE = 1 << 160


@cache
def _powers():
    first = sum((-1) ** n * (_ONE // (math.factorial(n) << n * BITS)) for n in range(12))
    powers = [_ONE]
    for _ in range(18 << BITS):
        powers.append(powers[-1] * first >> 160)
    return powers


_FORMULAS = {
    "sigmoid": lambda k: (_ONE << 160) // (_ONE + _powers()[k]),
    "tanh": lambda k: (_ONE - _powers()[2 * k] << 160) // (_ONE + _powers()[2 * k]),
    "exp": lambda k: _powers()[k],
}


@cache
def rounded(name):
    """Returns rounded values at k * 2^-14 for 0 <= k < COUNT, and each exact value's distance from a tie.

    An integer v stands for v * 2^-PRECISION. No value is a tie, so the values for negative k follow from sigmoid(-x) =
    1 - sigmoid(x) and tanh(-x) = -tanh(x).
    """
    unit = 1 << 160 - PRECISION[name]
    values = np.empty(COUNT[name], np.int64)
    distances = np.empty(COUNT[name])
    for k in range(COUNT[name]):
        value, rest = divmod(_FORMULAS[name](k), unit)
        values[k] = value + (2 * rest >= unit)
        distances[k] = abs(rest - unit // 2) / _ONE
    return values, distances


def signed(name, k):
    """Returns sigmoid or tanh of k * 2^-14 for an array of integers k, in units of 2^-14."""
    values = np.take(rounded(name)[0], np.abs(k), mode="clip")
    return np.where(k < 0, (1 << PRECISION[name]) * (name == "sigmoid") - values, values)


def exp(k):
    return np.take(rounded("exp")[0], k, mode="clip")


def nearest_to_ties(name, count):
    """Returns the ``count`` arguments whose exact values are nearest to a tie of rounding."""
    return np.argsort(rounded(name)[1], kind="stable")[:count].tolist()
