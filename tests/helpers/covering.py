"""The marker ``covering(strength, sweep=N)``: a plain `pytest` runs a few combinations of a test's parameters, in which
every value (strength 1) or every two values (2) of its parameters occur. The others are marked ``sweep``. With N only
N others are, always the same ones, and the rest is left out: for tests with thousands of combinations.
"""

import random
from collections import defaultdict
from itertools import combinations

import pytest


def swept(*values):
    """Returns parameters that a plain `pytest` leaves to the long tests."""
    return [pytest.param(value, marks=pytest.mark.sweep) for value in values]


def chosen(cases, strength):
    """Returns a few of ``cases``, each a {parameter: value}, that hold every ``strength`` values that any case holds.

    The next case is always the one with most of the missing combinations, so that the choice follows from the cases.

    Example:
        >>> cases = [dict(a=a, b=b, c=c) for a in (0, 1) for b in (0, 1) for c in (0, 1)]
        >>> chosen(cases, 1)
        [{'a': 0, 'b': 0, 'c': 0}, {'a': 1, 'b': 1, 'c': 1}]
        >>> chosen(cases, 2)
        [{'a': 0, 'b': 0, 'c': 0}, {'a': 0, 'b': 1, 'c': 1}, {'a': 1, 'b': 0, 'c': 1}, {'a': 1, 'b': 1, 'c': 0}]
    """
    holds = [set(combinations(sorted(case.items()), strength)) for case in cases]
    missing, kept = set().union(*holds), []
    while missing:
        kept.append(max(range(len(cases)), key=lambda i: len(holds[i] & missing)))
        missing -= holds[kept[-1]]
    return [cases[i] for i in sorted(kept)]


def parameters(item):
    """Returns {names: identities of the values} of a test, one entry for each decorator or fixture."""
    values, together = item.callspec.params if hasattr(item, "callspec") else {}, {}
    for mark in item.iter_markers("parametrize"):
        names = mark.args[0].split(",") if isinstance(mark.args[0], str) else mark.args[0]
        names = tuple(name.strip() for name in names)
        together[names] = tuple(id(values[name]) for name in names)
    of_fixtures = set(values).difference(*together)
    return together | {(name,): (id(values[name]),) for name in of_fixtures}


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items):
    tests = defaultdict(dict)
    for item in items:
        if marker := item.get_closest_marker("covering"):
            most = marker.kwargs.get("sweep")
            tests[item.nodeid.partition("[")[0], marker.args[0], most][item] = parameters(item)
    left_out = set()
    for (test, strength, most), cases in tests.items():
        kept = chosen(list(cases.values()), strength)
        if not kept:
            raise pytest.UsageError(f"{test}: expected {strength} parameters or more for covering({strength})")
        others = [item for item, case in cases.items() if case not in kept]
        for item in others:
            item.add_marker("sweep")
        if most is not None and len(others) > most:
            left_out.update(set(others) - set(random.Random(0).sample(others, most)))
    items[:] = [item for item in items if item not in left_out]
