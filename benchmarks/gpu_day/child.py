"""Runs commands, such as pytest, and measurements in child processes.

A child process may crash, hang or be interrupted, and the parent process goes on.
"""

import multiprocessing.connection
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from functools import partial
from pathlib import Path

from .results import Results

GRACE = 15.0  # seconds from SIGINT to SIGKILL, in which pytest prints its report
START = 20.0  # seconds for a child process to start


def run(
    command: list[str], log: Path, seconds: float, cwd: Path, grace: float = GRACE, **environment: str
) -> int | None:
    """Runs a command with its output in ``log``. Returns its exit status, or None if it was stopped.

    After ``seconds``, or on Ctrl-C, the process group gets SIGINT, so that pytest prints its report. SIGKILL follows
    ``grace`` seconds later.
    """
    with log.open("w") as file:
        streams = dict(stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT)
        process = subprocess.Popen(command, cwd=cwd, env=os.environ | environment, start_new_session=True, **streams)
        try:
            return process.wait(max(0.0, seconds))
        except subprocess.TimeoutExpired:
            return None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
                try:
                    process.wait(grace)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()


def run_jobs(part: str, jobs: list, results: Results, seconds: float, start: float = START) -> None:
    """Runs the unfinished measurements (``jobs``) in a child process, for at most ``seconds``.

    ``results`` stores the results under the name ``part``, such as "sampling".

    If the child process ends early, the implementation that it was measuring is recorded as failed, and a new child
    process runs the other jobs. SIGALRM ends a child process whose job takes longer than ``2 * job.seconds`` plus the
    ``start`` seconds for its start-up.
    """
    # CUDA cannot be used in a forked process.
    context, end = multiprocessing.get_context("spawn"), time.monotonic() + seconds
    while todo := [(job, results.finished_providers(part, job)) for job in jobs if not results.is_finished(part, job)]:
        code, (receiver, sender) = None, context.Pipe(duplex=False)
        process = context.Process(target=_child_main, args=(todo, sender, end, start), daemon=True)
        process.start()
        sender.close()
        try:
            while (code := process.exitcode) is None and (left := end - time.monotonic()) > 0:
                multiprocessing.connection.wait([receiver, process.sentinel], left)
                _receive(receiver, part, results)
        finally:
            process.kill()
            process.join()
            _receive(receiver, part, results)
            if not code:
                results.stop()
        if not code:
            return
        ending = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        results.fail_running(part, f"its process ended with {ending}")


def _receive(receiver, part: str, results: Results) -> None:
    with suppress(EOFError, OSError):  # OSError if the child was killed while it sent a message
        while receiver.poll():
            job, provider, status, note, facts = receiver.recv()
            results.add(part, job, provider, status, note, **facts)
            if (provider, status) == (None, "ok"):
                found = Counter(m["status"] for m in results.select(part) if m["job"] == str(job) and m["provider"])
                say(f"{job}: {', '.join(f'{count} {status}' for status, count in found.items())}")


def _report(sender, job, provider: str | None, status: str, note: str = "", **facts) -> None:
    sender.send((job, provider, status, note, facts))


def _child_main(todo: list, sender, end: float, start: float) -> None:
    # The parent process handles Ctrl-C.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for job, known in todo:
        report = partial(_report, sender, job)
        left = end - time.monotonic()
        if left < job.seconds:
            report(None, "not run", f"{max(0.0, left):.0f} s left, it is given {job.seconds:.0f} s")
            continue
        report(None, "running")
        signal.setitimer(signal.ITIMER_REAL, 2 * job.seconds + start)
        try:
            job.measure(known, report)
        except Exception as error:
            report(None, "running", first_line(error))
            raise
        signal.setitimer(signal.ITIMER_REAL, 0)
        report(None, "ok")


def first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or ["no message"]
    return f"{type(error).__name__}: {lines[0]}"[:300]


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
