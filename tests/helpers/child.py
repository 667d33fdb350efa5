"""Starts Python processes that import the package under test.

They start outside of the repository's root, where `python -c` would import the source folder.
"""

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryFile
from types import SimpleNamespace

import torch.distributed as dist

import pixelrnn_ext

from .root import ROOT

TESTS = ROOT / "tests"


def environment(*folders, without=()):
    """Returns the environment variables for a child process, without the names in ``without``.

    PYTHONPATH begins with ``folders`` and the folder that contains the package under test.
    """
    path = [*map(str, folders), str(Path(pixelrnn_ext.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    variables = {name: value for name, value in os.environ.items() if name not in without}
    return variables | {"PYTHONPATH": os.pathsep.join(filter(None, path)), "PYTHONFAULTHANDLER": "1"}


def python(*arguments, cwd=None, env=None, timeout=None):
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=env or environment(), capture_output=True, text=True, timeout=timeout)


def processes(count, *arguments, cwd):
    """Runs a Python program in ``count`` processes, as torchrun does.

    Returns the lists ``status``, ``stdout`` and ``stderr``, in the order of the processes' ranks. Where one process
    fails, torchrun ends the others. This function waits for them, so each exit status is a process's own.
    """
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    everywhere = environment(TESTS) | {
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port), "OMP_NUM_THREADS": "1",
        "WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count), "GROUP_WORLD_SIZE": "1",
        "TORCHELASTIC_RUN_ID": "none", "TORCHELASTIC_USE_AGENT_STORE": "True",
    }  # fmt: skip
    command, started = [sys.executable, *map(str, arguments)], []
    with ExitStack() as stack:
        for rank in range(count):
            files = [stack.enter_context(TemporaryFile("w+")) for _ in range(2)]
            variables = everywhere | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            process = subprocess.Popen(command, cwd=cwd, env=variables, stdout=files[0], stderr=files[1])
            stack.callback(process.kill)
            started.append((process, files))
        status = [process.wait(timeout=600) for process, _ in started]
        printed = [[_whole(file) for file in files] for _, files in started]
        stdout, stderr = map(list, zip(*printed))
        return SimpleNamespace(status=status, stdout=stdout, stderr=stderr)


def _whole(file):
    file.seek(0)
    return file.read()


def run_tests(file, expression, folder, variables):
    options = "-q", "-c", ROOT / "pyproject.toml", "-p", "no:cacheprovider"
    done = python("-m", "pytest", *options, file, "-k", expression, cwd=folder, env=environment() | variables)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
