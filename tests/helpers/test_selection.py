import re
import time
from itertools import chain, combinations
from types import SimpleNamespace

import pytest

from helpers import child, selection
from helpers.root import ROOT

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

@pytest.mark.covering(2, sweep=8)
@pytest.mark.parametrize("a", range(4))
@pytest.mark.parametrize("b", range(4))
@pytest.mark.parametrize("c", range(4))
@pytest.mark.parametrize("d", range(4))
def test_large(a, b, c, d):
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


def test_a_plain_run_has_every_pair_of_values_and_the_sweep_the_rest(run):
    plain, sweep = (run(TESTS, "--collect-only", "-m", marker) for marker in ("not sweep", "sweep"))

    def cases(lines, test):
        return [re.findall(r"\w+", line.partition("[")[2]) for line in lines if f"::{test}[" in line]

    assert len(cases(plain, "test_some")) == len(cases(sweep, "test_some")) == 6
    assert len(cases(plain, "test_all")) == 2 and cases(sweep, "test_all") == []
    large = cases(plain, "test_large")
    assert len(large) < 30 and len(cases(sweep, "test_large")) == 8
    for i, j in combinations(range(4), 2):
        assert len({(case[i], case[j]) for case in large}) == 16


def test_the_slices_are_all_tests_and_share_none():
    config = SimpleNamespace(hook=SimpleNamespace(pytest_deselected=lambda items: None))
    tests, slices = [SimpleNamespace(nodeid=f"test_it.py::test_some[{n}]") for n in range(40)], []
    for number in range(selection.SLICES):
        slices.append(list(tests))
        selection.keep_slice(config, slices[-1], number)
    assert all(3 <= len(some) <= 16 for some in slices)
    assert sorted(chain(*slices), key=tests.index) == tests


MANY = """
import pytest

@pytest.mark.parametrize("a", range(40))
def test_some(a):
    pass
"""


@pytest.mark.parametrize(("seconds", "outcome"), [(60, "passed"), (-1, "skipped")])
def test_the_first_file_runs_first_and_nothing_starts_when_the_time_is_over(seconds, outcome, run, tmp_path):
    (tmp_path / "test_z.py").write_text("def test_one():\n    pass\n")
    lines = run(MANY, "-v", "--first", "test_z.py", "--until", str(time.time() + seconds))
    assert [line.split()[0] for line in lines if line.startswith("test_")] == ["test_z.py", "test_it.py"]
    assert any(f" 41 {outcome}" in line for line in lines)
    names = ("test_z.py", "none") if seconds > 0 else ("none", "test_z.py")
    assert lines[-1] == "Changed tests that ran: {}; left to CI: {}.".format(*names)


def test_emulated_tests_that_cannot_run_skip_and_say_why(monkeypatch):
    config = SimpleNamespace(getoption=lambda name: None)
    plain, emulated = (SimpleNamespace(config=config, get_closest_marker=m.get) for m in ({}, {"emulated": True}))
    monkeypatch.setattr(selection, "_why_no_emulation", lambda: "no compiler")
    selection.pytest_runtest_setup(plain)
    with pytest.raises(pytest.skip.Exception, match="^no compiler$"):
        selection.pytest_runtest_setup(emulated)
