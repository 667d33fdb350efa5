"""Runs the tests of a real GPU in child processes, one for each file.

An illegal access makes every later use of the GPU in its process fail, and a kernel may never end. So the tests with
the marker ``cuda`` run in a child. If a test ends the child, hangs, or leaves a GPU that fails, this test fails by its
name, and the file's other tests get a new child. A file whose children have ended three times gets no other.

A test may take 120 s, or ``seconds`` of its marker. PIXELRNN_GPU_CHILDREN=0 runs the tests in pytest's own process.
"""

import ctypes
import json
import os
import queue
import select
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from tempfile import TemporaryFile

import pytest
import torch
from _pytest.reports import TestReport
from _pytest.runner import runtestprotocol

SECONDS = 120
CHILDREN = 3
# In a child, "READ_FD:WRITE_FD:PID": the pipes to the parent process, and this parent's id.
VARIABLE = "PIXELRNN_GPU_CHILD"
START = "import sys; sys.path[:] = {path}; import pytest; raise SystemExit(pytest.main(sys.argv[1:]))"


def pytest_configure(config):
    if VARIABLE in os.environ:
        config.pluginmanager.register(Child(*map(int, os.environ.pop(VARIABLE).split(":"))))
    elif os.environ.get("PIXELRNN_GPU_CHILDREN") != "0":
        config.pluginmanager.register(Parent(config))


def name_of(item):
    """Returns a test's id, without the "@group" that pytest-xdist appends to the id."""
    return item.nodeid.partition("@")[0]


class Child:
    def __init__(self, commands, answers, parent):
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: the kernel ends this process with its parent
        if os.getppid() != parent:
            os._exit(1)
        self.answers, self.names = os.fdopen(answers, "w"), queue.SimpleQueue()
        threading.Thread(target=self.receive, args=[os.fdopen(commands)], daemon=True).start()

    def receive(self, commands):
        for line in commands:
            self.names.put(json.loads(line))
        self.names.put(None)

    def pytest_runtestloop(self, session):
        items = {name_of(item): item for item in session.items}
        print("{}", file=self.answers, flush=True)  # tells the parent that the tests have been collected
        while names := self.names.get():
            item, following = map(items.get, names)
            reports = [] if item is None else runtestprotocol(item, log=False, nextitem=following)
            to_json = session.config.hook.pytest_report_to_serializable
            answer = {"reports": [to_json(config=session.config, report=report) for report in reports]}
            answer["broken"] = any(report.failed for report in reports) and self.why_gpu_fails()
            print(json.dumps(answer, default=str), file=self.answers, flush=True)
        return True

    def why_gpu_fails(self):
        try:
            if torch.cuda.is_initialized():
                torch.cuda.synchronize()
        except RuntimeError as error:
            return str(error).splitlines()[0]
        return None


class Parent:
    """Runs tests in a child. There is one child at a time, which runs tests of one file."""

    def __init__(self, config):
        self.config, self.process, self.path, self.broken = config, None, None, Counter()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item, nextitem):
        marker = item.get_closest_marker("cuda")
        if marker is None:
            return None
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for report in self.run(item, nextitem, marker.kwargs.get("seconds", SECONDS)):
            item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        # The test before may have left fixtures for this test's file, which no test of this process needs any more.
        item.session._setupstate.teardown_exact(nextitem)
        return True

    def run(self, item, nextitem, seconds):
        start = time.monotonic()
        if self.path != item.path:
            self.end()
        if self.process is None and self.broken[item.path] == CHILDREN:
            return [failure(item, f"not run, because {CHILDREN} processes of its file broke before it", 0)]
        following = name_of(nextitem) if nextitem is not None and nextitem.path == item.path else None
        answer, why, wait = None, "the test ended its process", 1
        try:
            if self.process is None:
                self.start(item)
                self.answer(start + SECONDS)
                start = time.monotonic()
            print(json.dumps([name_of(item), following]), file=self.commands, flush=True)
            answer = self.answer(start + seconds)
        except BrokenPipeError:
            pass
        except TimeoutError:
            why = f"the test hung: expected an end after {seconds:g} s at most"
            wait = 0
        if answer is None:
            status = self.end(wait)
            self.broken[item.path] += 1
            return [failure(item, f"{why} (status {status})\n{self.printed()}", time.monotonic() - start)]
        reports = [self.config.hook.pytest_report_from_serializable(config=self.config, data=data)
                   for data in answer["reports"]]  # fmt: skip
        for report in reports:
            report.nodeid = item.nodeid
            if report.skipped:
                report.longrepr = tuple(report.longrepr)  # JSON has no tuples
        if answer["broken"]:
            self.end(wait=0)
            self.broken[item.path] += 1
            failed = next(report for report in reports if report.failed)
            failed.sections.append(("GPU", f"the GPU fails in this process: {answer['broken']}"))
        return reports or [failure(item, f"expected the child to find {name_of(item)}", 0)]

    def start(self, item):
        self.path = item.path
        read, answers = os.pipe()
        commands, write = os.pipe()
        environment = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
        environment |= {VARIABLE: f"{commands}:{answers}:{os.getpid()}", "PYTHONFAULTHANDLER": "1"}
        # Without -m, the options of pyproject.toml would leave out tests that the command line asks for.
        options = ["-q", "-p", "no:cacheprovider", "-m", "", f"--rootdir={self.config.rootpath}"]
        options += ["-c", str(self.config.inipath)] if self.config.inipath else []
        options += [f"--until={until}"] if (until := self.config.getoption("until", None)) else []
        self.output = TemporaryFile("w+", errors="replace")  # noqa: SIM115  (closed with the object)
        self.process = subprocess.Popen(
            [sys.executable, "-c", START.format(path=sys.path), *options, str(item.path)],
            env=environment, stdin=subprocess.DEVNULL, stdout=self.output, stderr=self.output,
            pass_fds=(commands, answers), cwd=self.config.invocation_params.dir,
        )  # fmt: skip
        os.close(commands), os.close(answers)
        self.commands, self.answers, self.received = os.fdopen(write, "w"), read, b""

    def answer(self, end):
        """Returns the child's answer, or None if the child has ended. Raises TimeoutError at the time ``end``."""
        while b"\n" not in self.received:
            if not select.select([self.answers], [], [], max(0, end - time.monotonic()))[0]:
                raise TimeoutError
            if not (part := os.read(self.answers, 1 << 16)):
                return None
            self.received += part
        line, _, self.received = self.received.partition(b"\n")
        return json.loads(line)

    def printed(self):
        self.output.seek(0)
        return self.output.read()[-4000:]

    def end(self, wait=30):
        """Ends the child, at once or after it has torn its fixtures down, and returns its exit status."""
        process, self.process, self.path = self.process, None, None
        if process is None:
            return None
        with suppress(BrokenPipeError):
            self.commands.close()
        try:
            process.wait(wait)
        except subprocess.TimeoutExpired:
            process.kill()
        os.close(self.answers)
        return process.wait()

    def pytest_unconfigure(self):
        self.end()


def failure(item, text, duration):
    return TestReport(item.nodeid, item.location, {}, "failed", f"{name_of(item)}: {text}", "call", duration=duration)
