"""The slices of the long tests."""

import subprocess
import sys
from itertools import chain

from .root import ROOT
from .slices import SLICES

TESTS = """
import pytest

@pytest.mark.parametrize("a", range(40))
def test_some(a):
    pass
"""


def test_the_slices_are_all_tests_and_share_none(tmp_path):
    (tmp_path / "test_it.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text(f"[pytest]\npythonpath = {ROOT / 'tests'}\n")
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["helpers.slices"]')

    def collected(*options):
        command = [sys.executable, "-m", "pytest", "--collect-only", "-q", *options]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        return [line for line in done.stdout.splitlines() if "::" in line]

    slices = [collected("--slice", str(k)) for k in range(SLICES)]
    assert all(3 <= len(tests) <= 16 for tests in slices)
    assert sorted(chain(*slices)) == sorted(collected())
