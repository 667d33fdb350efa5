import doctest
import re
import time
from itertools import chain, combinations
from types import SimpleNamespace

import pytest

from helpers import child, selection
from helpers.root import ROOT


def test_the_example():
    assert doctest.testmod(selection) == (0, 3)


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


@pytest.fixture
def run(tmp_path):
    """Returns a function that runs pytest on the text of a test file, and returns the output lines."""

    def run(tests, *options):
        (tmp_path / "conftest.py").write_text('pytest_plugins = ["helpers.selection"]')
        (tmp_path / "test_it.py").write_text(tests)
        settings = f"pythonpath = {ROOT / 'tests'}\nmarkers =\n  sweep\n  covering\n"
        (tmp_path / "pytest.ini").write_text("[pytest]\n" + settings)
        return child.python("-m", "pytest", "-q", *options, cwd=tmp_path).stdout.splitlines()

    return run


@pytest.mark.parametrize("marker", ["not sweep", "sweep"])
def test_the_two_runs_share_the_tests(marker, run):
    done = "\n".join(run(TESTS, "--collect-only", "-m", marker))
    assert done.count("::test_some[") == 6, done
    assert done.count("::test_fewer[") == (4 if marker == "sweep" else 6), done
    assert done.count("::test_all[") == (2 if marker == "not sweep" else 0)


LARGE = """
import pytest

@pytest.mark.covering(2, sweep=8)
@pytest.mark.parametrize("a", range(4))
@pytest.mark.parametrize("b", range(4))
@pytest.mark.parametrize("c", range(4))
@pytest.mark.parametrize("d", range(4))
def test_some(a, b, c, d):
    pass
"""


def test_a_plain_run_has_every_pair_of_values_of_a_limited_sweep(run):
    cases = [re.findall(r"\d", line.partition("[")[2]) for line in run(LARGE, "--collect-only", "-m", "not sweep")]
    cases = [case for case in cases if case]
    assert len(cases) < 30
    for i, j in combinations(range(4), 2):
        assert len({(case[i], case[j]) for case in cases}) == 16


MANY = """
import pytest

@pytest.mark.parametrize("a", range(40))
def test_some(a):
    pass
"""


def test_the_slices_are_all_tests_and_share_none(run):
    def collected(*options):
        return [line for line in run(MANY, "--collect-only", *options) if "::" in line]

    slices = [collected("--slice", str(k)) for k in range(selection.SLICES)]
    assert all(3 <= len(tests) <= 16 for tests in slices)
    assert sorted(chain(*slices)) == sorted(collected())


@pytest.mark.parametrize(("seconds", "outcome"), [(60, "passed"), (-1, "skipped")])
def test_the_first_file_runs_first_and_nothing_starts_when_the_time_is_over(seconds, outcome, run, tmp_path):
    (tmp_path / "test_z.py").write_text("def test_one():\n    pass\n")
    lines = run(MANY, "-v", "--first", "test_z.py", "--until", str(time.time() + seconds))
    assert [line.split()[0] for line in lines if line.startswith("test_")] == ["test_z.py", "test_it.py"]
    assert f"41 {outcome}" in lines[-1]


def test_emulated_tests_that_cannot_run_skip_and_say_why(monkeypatch):
    config = SimpleNamespace(getoption=lambda name: None)
    plain, emulated = (SimpleNamespace(config=config, get_closest_marker=m.get) for m in ({}, {"emulated": True}))
    monkeypatch.setattr(selection, "_why_no_emulation", lambda: "no compiler")
    selection.pytest_runtest_setup(plain)
    with pytest.raises(pytest.skip.Exception, match="^no compiler$"):
        selection.pytest_runtest_setup(emulated)
