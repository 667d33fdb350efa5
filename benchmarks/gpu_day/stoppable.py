"""Commands that may be stopped: by a limit of time or by Ctrl-C, with everything that they started."""

import os
import signal
import subprocess
from pathlib import Path

GRACE = 15.0  # seconds to write a report after the interrupt


def run(
    command: list[str], log: Path, seconds: float, cwd: Path, grace: float = GRACE, **environment: str
) -> int | None:
    """The exit status, None where the command was stopped after ``seconds``. All that it prints goes to ``log``."""
    with log.open("w") as file:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            return process.wait(max(0.0, seconds))
        except subprocess.TimeoutExpired:
            return None
        finally:
            _stop(process, grace)


def _stop(process, grace):
    """Nothing where it has ended; else an interrupt first, which pytest answers with its report."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(grace)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
