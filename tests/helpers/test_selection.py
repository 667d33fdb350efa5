import doctest
import time
from itertools import chain, combinations, product
from math import prod
from types import SimpleNamespace

import pytest

from helpers import child, nvrtc, selection
from helpers.root import ROOT


def test_the_example():
    assert doctest.testmod(selection) == (0, 3)


@pytest.mark.parametrize("strength", [1, 2])
@pytest.mark.parametrize("sizes", [(2, 3), (2, 2, 7, 7), (3, 2, 4, 2)], ids=str)
def test_every_combination_of_that_strength_is_in_few_cases(sizes, strength):
    cases = [dict(enumerate(values)) for values in product(*map(range, sizes))]
    covering = selection.covering_cases(cases, strength)

    def contained(cases):
        return {values for case in cases for values in combinations(case.items(), strength)}

    assert contained(covering) == contained(cases)
    assert len(covering) <= 1.5 * prod(sorted(sizes)[-strength:])


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


@pytest.mark.parametrize(("seconds", "outcome"), [(60, "40 passed"), (-1, "40 skipped")])
def test_no_test_starts_when_the_time_is_over(seconds, outcome, run):
    assert run(MANY, "--until", str(time.time() + seconds))[-1].startswith(outcome)


def test_emulated_tests_without_their_compiler_skip_and_say_what_to_install(monkeypatch):
    config = SimpleNamespace(getoption=lambda name: None)
    items = [SimpleNamespace(config=config, get_closest_marker=markers.get) for markers in ({}, {"emulated": True})]
    monkeypatch.setattr(nvrtc.device_code, "find_compilers", lambda: iter([SimpleNamespace(version="13.2")]))
    monkeypatch.setattr(nvrtc.shutil, "which", lambda name: name)
    cached = nvrtc.compiler, selection._why_no_emulation
    for function in cached:
        function.cache_clear()
    try:
        selection.pytest_runtest_setup(items[0])
        with pytest.raises(
            pytest.skip.Exception, match="^expected NVRTC 12.9, got 13.2: pip install nvidia-cuda-nvrtc"
        ):
            selection.pytest_runtest_setup(items[1])
    finally:
        for function in cached:
            function.cache_clear()
