"""The rules of `make quick` name what is there."""

import runpy

import pytest

from helpers.kernels import every_kernel
from helpers.root import ROOT

quick = runpy.run_path(str(ROOT / "tests" / "quick.py"))


@pytest.mark.parametrize("rule", quick["RULES"], ids=lambda rule: rule.pattern)
def test_a_rule_names_tests_and_kernels_that_exist(rule):
    assert set(rule.kernels.split()) <= {kernel.name for kernel in every_kernel()}
    assert all((ROOT / test).exists() for test in rule.tests.split() if "{" not in test)


@pytest.mark.parametrize(
    ("path", "tests"),
    {
        "csrc/cpu/tiles/scan.h": "tests/scan/cpu/test_kernels.py tests/scan/test_against_oracle.py",
        "pixelrnn_ext/codec/container.py": "tests/codec",
        "tests/cli/test_help.py": "tests/cli/test_help.py",
        "tests/cli/command_line.py": "tests/cli",
        "docs/speed.md": "tests/repository/test_documents.py tests/repository/test_snippets.py",
    }.items(),
)
def test_a_path_has_the_tests_of_its_room(path, tests):
    assert quick["tests_of"](path) == tests.split()


def test_every_file_has_tests():
    """A room of the package without a room of tests would have none."""
    for path in ROOT.glob("pixelrnn_ext/**/*.py"):
        found = quick["tests_of"](path.relative_to(ROOT).as_posix())
        assert found and all((ROOT / test).exists() for test in found), path
