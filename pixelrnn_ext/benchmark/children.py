"""Measures tasks in a child process. A task that hangs, crashes or is wrong costs the other tasks nothing."""

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
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
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


class Children:
    """A context in which tasks run, one after the other, in a child process that is replaced when a task fails.

    The child processes end with this process, even if it is killed. They run without the self-check of the kernels,
    which would replace a wrong kernel by another one before it is measured.
    """

    def __init__(self) -> None:
        self._child: _Child | None = None

    def __enter__(self) -> "Children":
        return self

    def __exit__(self, *_: object) -> None:
        if self._child:
            self._child.kill()
        self._child = None

    def run(self, task: Task, more_seconds: float = 0.0) -> Outcome:
        """Returns what the task reported, with its "status" and, if the status is not "ok", a "note".

        The task's limit of time is ``task.seconds + more_seconds``. Of a process that crashes, the outcome keeps the
        end of its standard error as "log".
        """
        try:
            self._child = self._child or _Child()
            outcome = self._child.run(task, task.seconds + more_seconds)
        except BaseException:
            self.__exit__()
            raise
        if self._child.is_damaged:
            self.__exit__()
        return outcome


class _Child:
    def __init__(self) -> None:
        self._log = tempfile.NamedTemporaryFile(prefix="pixelrnn_child_")  # noqa: SIM115  (kill() closes it)
        # CUDA cannot be used in a forked process.
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self._log.name), daemon=True)
        with _environment_variable("PIXELRNN_SELF_CHECK", "0"):
            self._process.start()
        theirs.close()
        self.is_damaged = self._is_new = True

    def run(self, task: Task, seconds: float) -> Outcome:
        outcome: Outcome = {}
        self.is_damaged = True  # unless the process says otherwise
        before = os.path.getsize(self._log.name)
        try:
            if self._is_new:
                self._receive(START)
                self._is_new = False
            self._connection.send(task)
            end = time.monotonic() + seconds
            while "status" not in outcome:
                outcome |= self._receive(end - time.monotonic())
            self.is_damaged = outcome.pop("is_damaged")
        except TimeoutError:
            limit = START if self._is_new else seconds
            what = "its process did not start" if self._is_new else "it did not end"
            outcome |= {"status": FAILED, "note": f"{what} within {limit:.0f} s, and was killed"}
        except (EOFError, OSError):
            self._process.join(10)
            log = self._read_log(before)
            outcome |= {"status": FAILED, "note": self._ending(log), "log": log}
        return outcome

    def _receive(self, seconds: float) -> Outcome:
        if not self._connection.poll(max(0.0, seconds)):
            raise TimeoutError
        return self._connection.recv()

    def _read_log(self, start: int) -> str:
        with open(self._log.name, errors="replace") as file:
            file.seek(start)
            return file.read()[-4000:].strip()

    def _ending(self, log: str) -> str:
        code = self._process.exitcode
        ending = f"exit status {code}"
        if code is not None and code < 0:
            ending = signal.Signals(-code).name
        lines = [line.strip() for line in log.splitlines() if line.strip()]
        message = next((line for line in lines if "error" in line.lower()), lines[-1] if lines else "")
        return f"its process ended with {ending}" + f": {message}"[:300] * bool(message)

    def kill(self) -> None:
        # The process leads a group of its own, to which the compilers belong that it started.
        with suppress(ProcessLookupError, PermissionError, AttributeError):
            os.killpg(self._process.pid or 0, signal.SIGKILL)
        self._process.kill()
        self._process.join(10)  # a process in a call of the driver may take long to end
        self._connection.close()
        self._log.close()


@contextmanager
def _environment_variable(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        del os.environ[name]
        if before is not None:
            os.environ[name] = before


def _serve(connection: multiprocessing.connection.Connection, log: str) -> None:
    """Runs the tasks that the parent process sends, until it closes the connection."""
    if hasattr(os, "setpgrp"):
        os.setpgrp()  # Ctrl-C reaches the parent process alone
    _end_with_parent()
    file = os.open(log, os.O_WRONLY | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(file, stream)
    faulthandler.enable()
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
