"""Files do not depend on the floating-point environment that another library left in a thread: its rounding mode, and
whether it flushes subnormal numbers to zero. Processes of their own, since they change their threads' environment."""

import json
import subprocess
import sys
from functools import cache

import pytest

from helpers import child
from pixelrnn_ext.operators import library

from . import environments

REFUSED = "files cannot be coded here: expected every thread to round to the nearest number and to keep subnormal"
# The backends whose steps are PyTorch's.
PYTORCH = ("auto", "reference") if library.why_no_native() else ("reference",)


@cache
def results(pool):
    variables = child.environment(child.TESTS) | {"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "passive"}
    command = [sys.executable, "-m", "codec.environments", pool]
    done = subprocess.run(command, cwd=child.TESTS, env=variables, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return {tuple(key.split(", ")): outcomes for key, outcomes in json.loads(done.stdout).items()}


def check(name, pool, models):
    """In an environment the compiled steps give what they do in a clean process, and PyTorch's steps refuse."""
    clean = {model: outcomes for (where, model), outcomes in results("default").items() if where == "default"}
    found = {model: outcomes for (where, model), outcomes in results(pool).items() if where == name}
    assert len(found) == models
    for model, outcomes in found.items():
        if name != "default" and model.startswith(PYTORCH):
            assert all(outcome.startswith(REFUSED) for outcome in outcomes), f"{model}: {outcomes}"
        else:
            assert outcomes == clean[model][: len(outcomes)], model


def test_backends_agree_in_a_clean_process():
    clean = {model: outcomes for (where, model), outcomes in results("default").items() if where == "default"}
    for model, outcomes in clean.items():
        assert outcomes == clean[model.replace("auto", "reference")] and outcomes[0] == outcomes[1]
        assert all(len(digest) == 16 for digest in outcomes)


@pytest.mark.parametrize("name", environments.ENVIRONMENTS)
def test_an_environment_of_the_calling_thread(name):
    check(name, "default", models=10)


def test_an_environment_of_pytorch_s_threads():
    check("up", "up", models=10)


def test_an_environment_that_changes_during_a_call():
    check("late", "default", models=2)
