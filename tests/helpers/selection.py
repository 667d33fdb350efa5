"""Which tests run, and in which order.

The marker ``covering(strength, sweep=N)``: a plain `pytest` runs a few combinations of a test's parameters, in which
every value (strength 1) or every two values (2) of its parameters occur. The others are marked ``sweep``. With N only
N others are, always the same ones, and the rest is left out: for tests with thousands of combinations.

``--slice K``: a fifth of the chosen tests runs, those with hash(id) mod 5 = K. CI runs one slice of the long tests for
each commit. ``--until TIME``: no test starts later, and their order mixes all of them. tests/quick.py uses it.
"""

import hashlib
import random
import time
from collections import defaultdict
from itertools import combinations

import pytest

SLICES = 5


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


def cover(items):
    """Marks combinations as ``sweep`` and drops those that the marker ``covering`` leaves out."""
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


def hash_of(item):
    """Returns a number of the test's id. pytest-xdist appends "@group" to the names of grouped tests."""
    name = item.nodeid.partition("@")[0]
    return int(hashlib.sha256(name.encode()).hexdigest(), 16)


def pytest_addoption(parser):
    parser.addoption("--slice", type=int, choices=range(SLICES), help=f"run one of {SLICES} parts of the tests")
    parser.addoption("--until", type=float, help="start no test after this time, in seconds since the epoch")


def pytest_report_header(config):
    number = config.getoption("slice")
    return [] if number is None else f"slice {number} of {SLICES}: a test belongs to slice hash(id) mod {SLICES}"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(config, items):
    cover(items)  # before -m chooses
    yield
    number = config.getoption("slice")
    if number is not None:
        others = [item for item in items if hash_of(item) % SLICES != number]
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if hash_of(item) % SLICES == number]
    if config.getoption("until"):
        items.sort(key=hash_of)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    until = item.config.getoption("until")
    if until and time.time() > until:
        pytest.skip("left to CI: the time is over")
