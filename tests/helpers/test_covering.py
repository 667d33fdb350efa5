"""What a plain `pytest` leaves to `pytest -m sweep`."""

import doctest
import subprocess
import sys
from itertools import combinations, product
from math import prod
from pathlib import Path

import pytest

from helpers import covering


def test_the_example():
    assert doctest.testmod(covering) == (0, 3)


@pytest.mark.parametrize("strength", [1, 2])
@pytest.mark.parametrize("sizes", [(2, 3), (2, 2, 7, 7), (3, 2, 4, 2)], ids=str)
def test_every_combination_of_that_strength_is_in_few_cases(sizes, strength):
    cases = [dict(enumerate(values)) for values in product(*map(range, sizes))]
    few = covering.chosen(cases, strength)

    def held(cases):
        return {values for case in cases for values in combinations(case.items(), strength)}

    assert held(few) == held(cases)
    assert len(few) <= 1.5 * prod(sorted(sizes)[-strength:])


TESTS = """
import pytest

@pytest.fixture(params=[1, 2, 3])
def threads(request):
    return request.param

@pytest.mark.covering(2)
@pytest.mark.parametrize(("a", "too"), [(lambda: 0, 5), ({}, 5)], ids=["f", "g"])
@pytest.mark.parametrize("b", [0, 1])
def test_some(threads, a, too, b):
    pass

@pytest.mark.covering(2, sweep=4)
@pytest.mark.parametrize("a", [0, 1])
@pytest.mark.parametrize("b", [0, 1])
def test_fewer(threads, a, b):
    pass

@pytest.mark.parametrize("b", [0, 1])
def test_all(b):
    pass
"""


@pytest.mark.parametrize("marker", ["not sweep", "sweep"])
def test_the_two_runs_share_the_tests(marker, tmp_path):
    """2 x 2 x 3 values, of decorators and a fixture: 6 combinations have every two values, the other 6 are swept."""
    (tmp_path / "conftest.py").write_text("from helpers.covering import pytest_collection_modifyitems")
    (tmp_path / "test_it.py").write_text(TESTS)
    options = f"pythonpath = {Path(__file__).parents[1]}\nmarkers =\n  sweep\n  covering\n"
    (tmp_path / "pytest.ini").write_text("[pytest]\n" + options)
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", marker]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.count("::test_some[") == 6, done.stdout + done.stderr
    assert done.stdout.count("::test_fewer[") == (4 if marker == "sweep" else 6), done.stdout
    assert done.stdout.count("::test_all[") == (2 if marker == "not sweep" else 0)
