"""Computes the codec's sigmoid, tanh and exp with integers, correctly rounded, as a reference for all implementations.

Arguments are k * 2^-14 for an integer k. sigmoid and tanh are rounded to 2^-14, exp(-x) to 2^-24. For arguments
beyond its array of values a function returns the last value. The powers of exp(-2^-14) are integers in units of
2^-160. Each product errs by a few units, so all 18 * 2^14 powers err by less than 2^-135.
"""

import math
from functools import cache

import numpy as np

BITS = 14  # fraction bits of an argument
PRECISION = {"sigmoid": 14, "tanh": 14, "exp": 24}  # fraction bits of a value
COUNT = {"sigmoid": 18 << BITS, "tanh": 9 << BITS, "exp": 18 << BITS}  # number of k before the value is constant
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
    """Returns rounded values for k < COUNT in units of the last bit, and the exact values' distances from a tie.

    The rounded sigmoid(-x) is 1 - sigmoid(x), and tanh(-x) is -tanh(x), because no value is a tie.
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
    """Returns sigmoid or tanh of k * 2^-14, for any integers k, in units of the last bit."""
    values = np.take(rounded(name)[0], np.abs(k), mode="clip")
    return np.where(k < 0, (1 << PRECISION[name]) * (name == "sigmoid") - values, values)


def exp(k):
    return np.take(rounded("exp")[0], k, mode="clip")


def nearest_to_ties(name, count):
    """Returns the ``count`` arguments k whose values come nearest to a tie, the nearest first."""
    return np.argsort(rounded(name)[1], kind="stable")[:count].tolist()
