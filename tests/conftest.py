import os
import signal
import sys
from pathlib import Path

import pytest
import torch

from core import core  # noqa: F401  (pytest finds the fixture here)

pytest_plugins = ["helpers.properties", "helpers.selection", "helpers.summary"]
ROOT = Path(__file__).resolve().parents[1]
# Drops the repository, which `python -m pytest` puts on sys.path, if its pixelrnn_ext has no kernels built in place.
if not any((ROOT / "pixelrnn_ext").glob("_C.so")):
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != ROOT]

from helpers.checks import using_instruction_set  # noqa: E402  (after the change of sys.path)
from pixelrnn_ext.operators import library  # noqa: E402

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # shells start background jobs with SIGINT ignored
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_sessionstart(session):
    """Limits each pytest-xdist worker to one thread, since waiting threads spin on cores that the workers share."""
    if hasattr(session.config, "workerinput") and "OMP_NUM_THREADS" not in os.environ:
        os.environ["OMP_NUM_THREADS"] = "1"  # inherited by processes that tests start
        torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _empty_compile_cache(tmp_path_factory):
    """Gives torch.compile a new cache: the keys ignore changes of operators and of ATEN_CPU_CAPABILITY."""
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(tmp_path_factory.mktemp("inductor"))


@pytest.fixture(autouse=True)
def _fixed_seed_and_poisoned_memory():
    """Starts every test from one seed. Memory that an operator forgets to write reads as NaN."""
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(params=library.instruction_sets())
def instruction_set(request):
    with using_instruction_set(request.param):
        yield request.param


@pytest.fixture(params=[1, 2, 3], ids="{}threads".format)
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def cuda_compiler():
    from helpers import nvrtc

    return nvrtc.compiler()
