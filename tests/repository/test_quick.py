import runpy

import pytest

from helpers.root import ROOT
from kernel_costs.kernel_list import FORMATS, every_kernel

quick = runpy.run_path(str(ROOT / "tests" / "quick.py"))


@pytest.mark.parametrize(
    ("path", "tests"),
    {
        "csrc/cpu/tiles/scan.h": quick["TESTS"]["csrc/cpu/"],
        "tests/cli/test_help.py": "tests/cli/test_help.py",
        "tests/cli/several_processes.py": "tests/cli tests/cli/test_several_processes.py",
        "pixelrnn_ext/_command.py": "tests/cli/test_command.py",
        "docs/speed.md": "tests/repository",
    }.items(),
)
def test_a_path_has_the_tests_of_its_room_and_those_that_import_it(path, tests):
    assert quick["tests_of"](path) == tests.split()


def test_every_test_and_kernel_of_the_tables_exists():
    assert all((ROOT / test).exists() for tests in quick["TESTS"].values() for test in tests.split())
    sources = [path.relative_to(ROOT).as_posix() for path in ROOT.glob("csrc/cuda/**/*.cu")]
    kernels = {name for source in sources for name in quick["kernels_of"](source)}
    assert kernels <= {kernel.name for kernel in every_kernel()}
    assert all(any(f"5_{format}_" in name for name in kernels) for format in FORMATS)


def test_a_path_may_be_absolute_and_has_to_exist():
    assert quick["relative_to_root"](str(ROOT / "docs" / "speed.md")) == "docs/speed.md"
    for wrong in ("docs/no_such.md", "../elsewhere.py", "docs"):
        with pytest.raises(SystemExit, match=f"expected the path of a file of this repository, got '{wrong}'"):
            quick["relative_to_root"](wrong)
