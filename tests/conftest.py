import os
import signal
import sys
from pathlib import Path

import pytest
import torch

from core import core  # noqa: F401  (pytest finds the fixture here)

pytest_plugins = ["helpers.properties", "helpers.selection", "helpers.summary", "helpers.gpu_children"]
# A test of kernels must see a wrong kernel, not the step path in its place.
os.environ["PIXELRNN_SELF_CHECK"] = "0"
ROOT = Path(__file__).resolve().parents[1]
# `python -m pytest` puts the repository on sys.path. Without a `_C.so` built there, tests import the installed package.
if not any((ROOT / "pixelrnn_ext").glob("_C.so")):
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != ROOT]

from helpers.checks import using_instruction_set  # noqa: E402  (after the change of sys.path)
from pixelrnn_ext.operators import library  # noqa: E402

# Tests need KeyboardInterrupt. Python does not raise it in a shell's background job, which ignores SIGINT.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_sessionstart(session):
    """Limits each process of pytest-xdist to one thread, because a thread that waits for work spins on its core."""
    if hasattr(session.config, "workerinput") and "OMP_NUM_THREADS" not in os.environ:
        os.environ["OMP_NUM_THREADS"] = "1"  # for processes that a test starts
        torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _empty_compile_cache(tmp_path_factory):
    """Gives torch.compile an empty cache, because an old cache could return outdated code.

    The keys of the cache do not depend on our operators' code or on ATEN_CPU_CAPABILITY.
    """
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(tmp_path_factory.mktemp("inductor"))


@pytest.fixture(autouse=True)
def _fixed_seed_and_poisoned_memory():
    """Lets PyTorch fill new tensors with NaN, so that a test notices memory that an operator forgets to write."""
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
