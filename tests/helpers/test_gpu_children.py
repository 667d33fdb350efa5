"""Tests the child processes of a GPU's tests, with tests that end their process, hang and spoil a GPU on a CPU."""

import subprocess
import sys

import pytest

from helpers import child
from helpers.root import ROOT

CONFTEST = """
import sys, types
torch = types.SimpleNamespace(cuda=types.SimpleNamespace(is_initialized=lambda: True, synchronize=lambda: None))
sys.modules["torch"] = torch  # importing the real one takes seconds
pytest_plugins = ["helpers.gpu_children"]
"""
FAMILY = """
import os, time, torch, pytest
pytestmark = [pytest.mark.cuda]

@pytest.fixture(scope="module", autouse=True)
def family():
    print("set up")
    yield
    print("torn down", os.path.basename(__file__)[5:-3])

def test_first(record_property):
    record_property("error", ("fp32 h", 0.5))
    assert os.getppid() == int(os.environ["PARENT"])

@pytest.mark.cuda(OPTIONS)
def test_bad():
    BAD

def test_skips():
    pytest.skip("no reason")

@pytest.mark.parametrize("number", [1, 2])
def test_last(number):
    assert number == 1
"""
ORDINARY = """
import os, pytest

def test_ordinary():
    assert os.getpid() == int(os.environ["PARENT"])
"""
# Between two ordinary tests of two files, the last test of the first file runs in a child.
MIXED = (
    ORDINARY
    + """
@pytest.mark.cuda
def test_on_a_gpu():
    assert os.getpid() != int(os.environ["PARENT"])
"""
)
SPOIL = """
    def synchronize():
        raise RuntimeError("illegal address")
    torch.cuda.synchronize = synchronize
    assert False, "wrong value"
"""
WORSE = """os._exit(3)

@pytest.mark.parametrize("number", range(3))
def test_worse(number):
    os._exit(4)
"""
BAD = {
    "pass": "pass",
    "kill": "os.kill(os.getpid(), 9)",
    "hang": "time.sleep(60)",
    "spoil": SPOIL,
    "worse": WORSE,
}
WHY = {
    "kill": "the test ended its process (status -9)",
    "hang": "the test hung: expected an end after 1 s at most (status -9)",
    "spoil": "the GPU fails in this process: illegal address",
    "worse": "not run, because 3 processes of its file broke before it",
}  # fmt: skip
START = "import os, sys, pytest; os.environ['PARENT'] = str(os.getpid()); sys.exit(pytest.main(sys.argv[1:]))"


def pytest_in(folder, **families):
    (folder / "conftest.py").write_text(CONFTEST)
    for name, (bad, options) in families.items():
        text = FAMILY.replace("BAD", bad).replace("OPTIONS", options)
        (folder / f"test_{name}.py").write_text(text)
    (folder / "test_mixed.py").write_text(MIXED)
    (folder / "test_ordinary.py").write_text(ORDINARY)
    path = f"{ROOT / 'tests'} {ROOT / 'benchmarks'}"
    settings = f"pythonpath = {path}\nmarkers =\n  cuda\naddopts = --import-mode=importlib\n"
    (folder / "pytest.ini").write_text("[pytest]\n" + settings)
    command = [sys.executable, "-c", START, "-p", "no:cacheprovider", "-rA"]
    environment = child.environment(without=["PYTEST_ADDOPTS", "PIXELRNN_GPU_CHILDREN"])
    environment |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=pipe, stderr=subprocess.STDOUT, text=True)


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """Returns the output of one pytest, which runs a family for each word of BAD."""
    families = {name: (bad, "seconds=1" if name == "hang" else "") for name, bad in BAD.items()}
    return pytest_in(tmp_path_factory.mktemp("families"), **families).communicate(timeout=60)[0]


def outcomes(text, name):
    lines = [line.split() for line in text.splitlines() if f" test_{name}.py::" in line]
    return {line[1].partition("::")[2]: line[0] for line in lines if line[0] in ("PASSED", "FAILED")}


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_test_fails_by_its_name_and_no_other(bad, text):
    expected = {"test_first": "PASSED", "test_bad": "PASSED" if bad == "pass" else "FAILED"}
    if bad == "worse":
        expected |= dict.fromkeys(["test_last[1]", "test_last[2]"], "FAILED")
        expected |= {f"test_worse[{n}]": "FAILED" for n in range(3)} | {"test_skips": "FAILED"}
    else:
        expected |= {"test_last[1]": "PASSED", "test_last[2]": "FAILED"}
    assert outcomes(text, bad) == expected, text
    assert WHY.get(bad, "") in text and ("assert 2 == 1" in text) and "set up" in text
    assert outcomes(text, "mixed") == {"test_ordinary": "PASSED", "test_on_a_gpu": "PASSED"}
    assert outcomes(text, "ordinary") == {"test_ordinary": "PASSED"}
    # A child that ended by itself tore its module down: that of "pass", and the last one of each broken file.
    assert bad == "worse" or f"torn down {bad}" in text
