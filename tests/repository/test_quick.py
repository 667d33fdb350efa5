import runpy

import pytest

from helpers.kernels import FORMATS, every_kernel
from helpers.root import ROOT

quick = runpy.run_path(str(ROOT / "tests" / "quick.py"))


@pytest.mark.parametrize("rule", quick["RULES"], ids=lambda rule: rule.pattern)
def test_a_rule_names_tests_and_kernels_that_exist(rule):
    kernels = {name for format in FORMATS for name in rule.kernels.format(format=format).split()}
    assert kernels <= {kernel.name for kernel in every_kernel()}
    assert all((ROOT / test).exists() for test in rule.tests.split() if "{" not in test)


@pytest.mark.parametrize(
    ("path", "tests"),
    {
        "csrc/cpu/tiles/scan.h": "tests/scan/cpu/test_kernels.py tests/scan/test_against_oracle.py",
        "pixelrnn_ext/codec/container.py": "tests/codec",
        "tests/cli/test_help.py": "tests/cli/test_help.py",
        "tests/cli/command_line.py": "tests/cli",
        "docs/speed.md": "tests/repository/test_documents.py tests/repository/test_snippets.py",
        "pixelrnn_ext/_command.py": "tests/cli",
        "tests/helpers/reach.py": "tests/masked_conv/test_masked_conv.py tests/models/test_receptive_field.py "
        "tests/scan/test_receptive_field.py tests/helpers",
    }.items(),
)
def test_a_path_has_the_tests_of_its_room(path, tests):
    assert quick["tests_of"](path) == tests.split()


@pytest.mark.parametrize("format", FORMATS)
def test_a_file_of_kernels_has_kernels_of_its_format(format):
    for path in ROOT.glob(f"csrc/cuda/resident*_{format}.cu"):
        kernels = quick["kernels_of"](path.relative_to(ROOT).as_posix())
        assert kernels and all(f"_{format}_" in kernel for kernel in kernels)


def test_a_path_may_be_absolute_and_has_to_exist():
    assert quick["relative_to_root"](str(ROOT / "docs" / "speed.md")) == "docs/speed.md"
    for wrong in ("docs/no_such.md", "../elsewhere.py", "docs"):
        with pytest.raises(SystemExit, match=f"expected the path of a file of this repository, got '{wrong}'"):
            quick["relative_to_root"](wrong)


def test_every_file_has_tests():
    for path in ROOT.glob("pixelrnn_ext/**/*.py"):
        found = quick["tests_of"](path.relative_to(ROOT).as_posix())
        assert found and all((ROOT / test).exists() for test in found), path
