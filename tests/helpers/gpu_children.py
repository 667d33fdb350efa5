"""Runs the tests of a real GPU in child processes, one for each file.

An illegal access makes every later use of the GPU in its process fail, and a kernel may never end. So the tests with
the marker ``cuda`` run in a child. If a test ends the child, hangs, or leaves a GPU that fails, this test fails by its
name, and the file's other tests get a new child. A file whose children have ended three times gets no other.

A test may take 120 s, or ``seconds`` of its marker. PIXELRNN_GPU_CHILDREN=0 runs the tests in pytest's own process.

The child imports this file before pytest does: PYTEST_DONT_REWRITE.
"""

import os
import time
from collections import Counter

import pytest
from _pytest.reports import TestReport
from _pytest.runner import runtestprotocol

from harness.alone import load_module

SECONDS = 120
CHILDREN = 3
children = load_module("benchmark/children.py")


def pytest_configure(config):
    if os.environ.get("PIXELRNN_GPU_CHILDREN") != "0":
        config.pluginmanager.register(Parent(config))


def name_of(item):
    """Returns a test's id, without the "@group" that pytest-xdist appends to the id."""
    return item.nodeid.partition("@")[0]


def serve(connection, log, folder, options):
    children.begin(log)
    os.chdir(folder)
    os.environ["PIXELRNN_GPU_CHILDREN"] = "0"
    os.environ.pop("PYTEST_ADDOPTS", None)
    raise SystemExit(pytest.main(options, plugins=[Child(connection)]))


class Child:
    def __init__(self, connection):
        self.connection = connection

    def pytest_runtestloop(self, session):
        items = {name_of(item): item for item in session.items}
        self.connection.send(None)  # tells the parent that the tests have been collected
        to_json = session.config.hook.pytest_report_to_serializable
        while names := self.next_names():
            item, following = map(items.get, names)
            reports = [] if item is None else runtestprotocol(item, log=False, nextitem=following)
            broken = any(report.failed for report in reports) and self.why_gpu_fails()
            self.connection.send(([to_json(config=session.config, report=report) for report in reports], broken))
        return True

    def next_names(self):
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            return None

    def why_gpu_fails(self):
        import torch

        try:
            if torch.cuda.is_initialized():
                torch.cuda.synchronize()
        except RuntimeError as error:
            return str(error).splitlines()[0]
        return None


class Parent:
    """Runs tests in a child. There is one child at a time, which runs tests of one file."""

    def __init__(self, config):
        self.config, self.child, self.path, self.broken = config, None, None, Counter()

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
        if self.child is None and self.broken[item.path] == CHILDREN:
            return [failure(item, f"not run, because {CHILDREN} processes of its file broke before it", 0)]
        following = name_of(nextitem) if nextitem is not None and nextitem.path == item.path else None
        why, wait = "the test ended its process", 1
        try:
            if self.child is None:
                self.start(item)
                start = time.monotonic()
            self.child.send((name_of(item), following))
            answers, broken = self.child.receive(seconds)
        except (EOFError, OSError) as error:
            if isinstance(error, TimeoutError):
                why, wait = f"the test hung: expected an end after {seconds:g} s at most", 0
            status, output = self.end(wait)
            self.broken[item.path] += 1
            return [failure(item, f"{why} (status {status})\n{output}", time.monotonic() - start)]
        from_json = self.config.hook.pytest_report_from_serializable
        reports = [from_json(config=self.config, data=data) for data in answers]
        for report in reports:
            report.nodeid = item.nodeid
        if broken:
            self.end(wait=0)
            self.broken[item.path] += 1
            failed = next(report for report in reports if report.failed)
            failed.sections.append(("GPU", f"the GPU fails in this process: {broken}"))
        return reports or [failure(item, f"expected the child to find {name_of(item)}", 0)]

    def start(self, item):
        self.path = item.path
        # Without -m, the options of pyproject.toml would leave out tests that the command line asks for.
        options = ["-q", "-p", "no:cacheprovider", "-m", "", f"--rootdir={self.config.rootpath}"]
        options += ["-c", str(self.config.inipath)] if self.config.inipath else []
        options += [f"--until={until}"] if (until := self.config.getoption("until", None)) else []
        self.child = children.Child(serve, str(self.config.invocation_params.dir), [*options, str(item.path)])
        self.child.receive(SECONDS)

    def end(self, wait=30):
        """Ends the child, at once or after it has torn its fixtures down. Returns its exit status and its output."""
        child, self.child, self.path = self.child, None, None
        return child and child.end(wait)

    def pytest_unconfigure(self):
        self.end()


def failure(item, text, duration):
    return TestReport(item.nodeid, item.location, {}, "failed", f"{name_of(item)}: {text}", "call", duration=duration)
