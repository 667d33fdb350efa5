"""Measures tasks in a child process. A task that hangs, crashes or is wrong costs the other tasks nothing.

The file imports nothing of the package: tests/helpers/gpu_children.py loads it without torch.
"""

import ctypes
import faulthandler
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

# Statuses of an outcome. CANNOT_RUN is no failure: for example, a scan may be too large for a kernel. NOT_RUN means
# that the time was over before.
OK, CANNOT_RUN, WRONG, FAILED, NOT_RUN = "ok", "cannot run", "wrong", "failed", "not run"
START = 120.0  # the most seconds for a child process to start
Report = Callable[..., None]
Outcome = dict[str, Any]


class Task(Protocol):
    """A measurement. It is pickled for the child process.

    ``measure`` reports facts as keyword arguments. It raises an Ended if there is no result, or any other exception.
    """

    @property
    def seconds(self) -> float:
        """The most seconds of a measurement."""
        ...

    def measure(self, report: Report) -> None: ...


class Ended(Exception):
    """Ends a task with a status. All but CANNOT_RUN also end the child process, which may be damaged."""

    def __init__(self, status: str, note: str) -> None:
        super().__init__(note)
        self.status = status


class Child:
    """A process that runs ``serve(connection, log, *arguments)``, and sends messages within limits of time.

    ``serve`` calls :func:`begin` first, and ends when the connection ends. The file ``log`` keeps its output.
    """

    def __init__(self, serve: Callable[..., None], *arguments: Any) -> None:
        self._log = tempfile.NamedTemporaryFile(prefix="pixelrnn_child_")  # noqa: SIM115  (end() closes it)
        self._start = 0  # of the output that end() returns
        # CUDA cannot be used in a forked process.
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, self._log.name, *arguments), daemon=True)
        self._process.start()
        theirs.close()

    def send(self, message: object) -> None:
        self._start = os.path.getsize(self._log.name)
        self._connection.send(message)

    def receive(self, seconds: float) -> Any:
        """Returns the next message. Raises TimeoutError, or EOFError or another OSError if the process has ended."""
        if not self._connection.poll(max(0.0, seconds)):
            raise TimeoutError
        return self._connection.recv()

    def end(self, seconds: float = 0.0) -> tuple[int | None, str]:
        """Kills the process unless it ends by itself within ``seconds``.

        Returns its exit status, and the last 4000 characters of its output since the last message to it.
        """
        self._connection.close()
        self._process.join(seconds)
        status = self._process.exitcode
        # The process leads a group of its own, to which the compilers belong that it started.
        with suppress(ProcessLookupError, PermissionError, AttributeError, TypeError):
            os.killpg(self._process.pid, signal.SIGKILL)  # type: ignore[arg-type]
        self._process.kill()
        self._process.join(10)  # a process in a call of the driver may take long to end
        with self._log, open(self._log.name, errors="replace") as file:
            file.seek(self._start)
            return self._process.exitcode if status is None else status, file.read()[-4000:].strip()


class Children:
    """A context in which tasks run, one after the other, in a child process that is replaced when a task fails.

    The child processes end with this process, even if it is killed. They run without the self-check of the kernels,
    which would replace a wrong kernel by another one before it is measured.
    """

    def __init__(self) -> None:
        self._child: Child | None = None

    def __enter__(self) -> "Children":
        return self

    def __exit__(self, *_: object) -> None:
        if self._child:
            self._child.end()
        self._child = None

    def run(self, task: Task, more_seconds: float = 0.0) -> Outcome:
        """Returns what the task reported, with its "status" and, if the status is not "ok", a "note".

        The task's limit of time is ``task.seconds + more_seconds``. Of a process that crashes, the outcome keeps the
        end of its standard error as "log".
        """
        outcome: Outcome = {}
        is_damaged, what, limit = True, "its process did not start", START
        try:
            if self._child is None:
                self._child = Child(_serve)
                self._child.receive(START)
            what, limit = "it did not end", task.seconds + more_seconds
            self._child.send(task)
            end = time.monotonic() + limit
            while "status" not in outcome:
                outcome |= self._child.receive(end - time.monotonic())
            is_damaged = outcome.pop("is_damaged")
        except TimeoutError:
            outcome |= {"status": FAILED, "note": f"{what} within {limit:.0f} s, and was killed"}
        except (EOFError, OSError):
            if self._child is None:
                raise
            status, log = self._child.end(10)
            outcome |= {"status": FAILED, "note": _ending(status, log), "log": log}
            self._child = None
        finally:
            if is_damaged:
                self.__exit__()
        return outcome


def _ending(status: int | None, log: str) -> str:
    ending = f"exit status {status}"
    if status is not None and status < 0:
        ending = signal.Signals(-status).name
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    message = next((line for line in lines if "error" in line.lower()), lines[-1] if lines else "")
    return f"its process ended with {ending}" + f": {message}"[:300] * bool(message)


def begin(log: str) -> None:
    """Prepares a child process: its group, its output, and its end with its parent process."""
    if hasattr(os, "setpgrp"):
        os.setpgrp()  # Ctrl-C reaches the parent process alone
    _end_with_parent()
    file = os.open(log, os.O_WRONLY | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(file, stream)
    faulthandler.enable()


def _serve(connection: multiprocessing.connection.Connection, log: str) -> None:
    """Runs the tasks that the parent process sends, until it closes the connection."""
    begin(log)
    os.environ["PIXELRNN_SELF_CHECK"] = "0"
    connection.send({})
    with suppress(EOFError, OSError):
        while True:
            task = connection.recv()
            outcome = _measure(task, lambda **facts: connection.send(facts))
            connection.send(outcome)
            if outcome["is_damaged"]:
                break
    # Without the clean-up of CUDA, which may hang in a damaged process.
    sys.stdout.flush(), sys.stderr.flush()
    os._exit(0)


def _measure(task: Task, report: Report) -> Outcome:
    try:
        task.measure(report)
    except Ended as ended:
        return {"status": ended.status, "note": first_line(ended), "is_damaged": ended.status != CANNOT_RUN}
    except Exception as error:
        note = first_line(error)
        status = CANNOT_RUN if "cannot run" in note else FAILED
        return {"status": status, "note": f"{type(error).__name__}: {note}", "is_damaged": status == FAILED}
    return {"status": OK, "is_damaged": False}


def first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or ["no message"]
    return lines[0][:300]


def _end_with_parent() -> None:
    """Ends this process when its parent process ends, by a signal of Linux, and by a thread on other systems."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    # A kernel that hangs may keep Python's lock, without which no thread runs.
    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
    threading.Thread(target=wait, daemon=True).start()
