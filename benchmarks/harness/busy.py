import contextlib
import subprocess
import sys
from collections.abc import Iterator

# Ends when its standard input closes, at the latest when the parent process ends.
_PROGRAM = """
import select, sys
print("busy", flush=True)
while not select.select([sys.stdin], [], [], 0)[0]:
    for _ in range(100_000):
        pass
"""


@contextlib.contextmanager
def busy_core() -> Iterator[subprocess.Popen]:
    """Keeps a core busy with a child process that Ctrl-C does not reach."""
    program = [sys.executable, "-c", _PROGRAM]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True) as process:
        process.stdout.readline()
        yield process
