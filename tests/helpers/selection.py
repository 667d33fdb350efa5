"""Chooses which tests run, and in which order.

The marker ``covering(strength, sweep=N)`` is for tests of several parameters. A plain `pytest` runs only a few of their
combinations, which contain every value (strength 1) or every pair of values (strength 2). `pytest -m sweep` runs the
other combinations, or a fixed sample of N of them.

``--slice K`` runs a fifth of the tests, for K = 0 to 4. ``--until TIME`` shuffles the tests, those of ``--first FILE``
before the others, and starts none after TIME. The last line then says which of these files ran.
"""

import hashlib
import random
import time
from collections import defaultdict
from functools import cache
from itertools import combinations

import pytest

SLICES = 5


def swept(*values):
    """Returns values of a parameter that only `pytest -m sweep` tests."""
    return [pytest.param(value, marks=pytest.mark.sweep) for value in values]


def covering_cases(cases, strength):
    """Returns a few of ``cases`` that contain every value (strength 1) or pair of values (strength 2) of all cases.

    A case is a dict {parameter: value}. Equal cases always give the same choice.
    """
    contained = [set(combinations(sorted(case.items()), strength)) for case in cases]
    missing, taken = set().union(*contained), []
    while missing:
        taken.append(max(range(len(cases)), key=lambda i: len(contained[i] & missing)))
        missing -= contained[taken[-1]]
    return [cases[i] for i in sorted(taken)]


def parameters(item):
    """Returns the parameters of a test case, with the Python id() of each value in place of the value.

    A key of the result is the tuple of the parameter names that one marker ``parametrize`` sets together. Ids replace
    the values, because not all values are hashable.
    """
    values, found = item.callspec.params if hasattr(item, "callspec") else {}, {}
    for mark in item.iter_markers("parametrize"):
        names = mark.args[0].split(",") if isinstance(mark.args[0], str) else mark.args[0]
        names = tuple(name.strip() for name in names)
        found[names] = tuple(id(values[name]) for name in names)
    return found | {(name,): (id(values[name]),) for name in set(values).difference(*found)}


def cover(items):
    """Gives the marker ``sweep`` to each combination of parameters that a plain run of pytest leaves out.

    If a test's marker ``covering`` limits the sweep to N combinations, the function removes those beyond the limit from
    ``items``. To save time, it then chooses from a sample of 20 N combinations, which has every pair of values.
    """
    tests = defaultdict(list)
    for item in items:
        if marker := item.get_closest_marker("covering"):
            tests[item.nodeid.partition("[")[0], marker.args[0], marker.kwargs.get("sweep")].append(item)
    dropped = set()
    for (test, strength, limit), every in tests.items():
        count = len(every) if limit is None else min(len(every), 20 * limit)
        sample = set(random.Random(0).sample(every, count))
        dropped.update(set(every) - sample)
        cases = {item: parameters(item) for item in every if item in sample}
        covering = covering_cases(list(cases.values()), strength)
        if not covering:
            raise pytest.UsageError(f"{test}: expected {strength} parameters or more for covering({strength})")
        others = [item for item, case in cases.items() if case not in covering]
        for item in others:
            item.add_marker("sweep")
        if limit is not None and len(others) > limit:
            dropped.update(set(others) - set(random.Random(0).sample(others, limit)))
    items[:] = [item for item in items if item not in dropped]


def hash_of(item):
    """Returns a hash of a test's id, without the "@group" that pytest-xdist appends to the id."""
    name = item.nodeid.partition("@")[0]
    return int(hashlib.sha256(name.encode()).hexdigest(), 16)


def keep_slice(config, items, number):
    config.hook.pytest_deselected(items=[item for item in items if hash_of(item) % SLICES != number])
    items[:] = [item for item in items if hash_of(item) % SLICES == number]


def pytest_addoption(parser):
    parser.addoption("--slice", type=int, choices=range(SLICES), help=f"run one of {SLICES} parts of the tests")
    parser.addoption("--until", type=float, help="start no test after this time, in seconds since the epoch")
    parser.addoption("--first", action="append", default=[], help="with --until, run the tests of this file first")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(config, items):
    cover(items)  # adds markers before pytest selects tests by them
    yield
    if (number := config.getoption("slice")) is not None:
        keep_slice(config, items, number)
    if config.getoption("until"):
        first = tuple(f"{file}::" for file in config.getoption("first"))
        items.sort(key=lambda item: (not item.nodeid.startswith(first), hash_of(item)))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    until = item.config.getoption("until")
    if until and time.time() > until:
        pytest.skip("left to CI: the time is over")
    if item.get_closest_marker("emulated") and (reason := _why_no_emulation()):
        pytest.skip(reason)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session):
    yield
    config = session.config
    if config.getoption("until") and not hasattr(config, "workerinput"):
        stats, changed = config.pluginmanager.get_plugin("terminalreporter").stats, config.getoption("first")
        ran = {report.nodeid.split("::")[0] for key in ("passed", "failed", "error") for report in stats.get(key, ())}
        run, left = (" ".join(file for file in changed if (file in ran) == did) or "none" for did in (True, False))
        print(f"\nChanged tests that ran: {run}; left to CI: {left}.")


@cache
def _why_no_emulation():
    """Returns one sentence that says what the tests on the emulated GPU lack, or None."""
    from helpers import nvrtc  # loads NVRTC, which other tests do not need
    from pixelrnn_ext.operators import library

    return nvrtc.why_no_compiler() or library.why_no_native()
