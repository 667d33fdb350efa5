"""The option ``--slice K``: of the tests that are chosen, a fifth runs. A test belongs to slice hash(its id) mod 5.

CI runs one slice of the long tests for each commit.
"""

import hashlib

import pytest

SLICES = 5


def slice_of(name):
    """Returns the slice of a test. pytest-xdist appends "@group" to the names of grouped tests."""
    name = name.partition("@")[0]
    return int(hashlib.sha256(name.encode()).hexdigest(), 16) % SLICES


def pytest_addoption(parser):
    parser.addoption("--slice", type=int, choices=range(SLICES), help=f"run one of {SLICES} parts of the tests")


def pytest_report_header(config):
    chosen = config.getoption("slice")
    return [] if chosen is None else f"slice {chosen} of {SLICES}: a test belongs to slice hash(id) mod {SLICES}"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    chosen = config.getoption("slice")
    if chosen is not None:
        others = [item for item in items if slice_of(item.nodeid) != chosen]
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if slice_of(item.nodeid) == chosen]
