"""Models in many threads, beside other modules, in a process of its own with a time-out."""

import subprocess
import sys
from pathlib import Path

import pytest

from helpers import child

SECONDS = 60


@pytest.mark.sweep
def test_models_in_threads_beside_unrelated_modules(tmp_path):
    """Sampling, completing, coding and scoring with shared models, trainings, and modules of others."""
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("threads_of_models.py"), str(SECONDS)],
        cwd=tmp_path,
        env=child.environment() | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=SECONDS + 180,
    )
    assert done.returncode == 0, done.stdout + done.stderr
