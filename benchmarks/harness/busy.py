"""A machine under load, on purpose."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator

# It ends when its input does, which the system closes with whoever started it, however that one ends.
_PROGRAM = """
import select, sys
print("busy", flush=True)
while not select.select([sys.stdin], [], [], 0)[0]:
    for _ in range(100_000):
        pass
"""


@contextlib.contextmanager
def busy_core() -> Iterator[subprocess.Popen]:
    """Within it another process keeps a core busy. Ctrl-C at a terminal does not reach that one."""
    program = [sys.executable, "-c", _PROGRAM]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True) as process:
        process.stdout.readline()
        yield process
