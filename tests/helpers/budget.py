"""The option ``--budget SECONDS``: tests start until the seconds are over, in an order that mixes all of them.

The others are skipped as left to CI. tests/quick.py uses it.
"""

import hashlib
import time

import pytest

LEFT = "left to CI: the time is over"


def pytest_addoption(parser):
    parser.addoption("--budget", type=float, help="start no test after so many seconds")


def pytest_configure(config):
    seconds = config.getoption("budget")
    config.deadline = None if seconds is None else time.time() + seconds
    if hasattr(config, "workerinput"):
        config.deadline = config.workerinput["deadline"]


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node):
    """pytest-xdist calls it before it starts a worker."""
    node.workerinput["deadline"] = node.config.deadline


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    if config.deadline is not None:
        items.sort(key=lambda item: hashlib.sha256(item.nodeid.encode()).digest())


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    deadline = item.config.deadline
    if deadline is not None and time.time() > deadline:
        pytest.skip(LEFT)
