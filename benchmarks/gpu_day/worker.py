"""A process that works for another one: it may crash or hang without harm to it."""

import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any


class Gone(Exception):
    """The process ended before its work."""


class TimedOut(Gone):
    """The process gave no answer in time, and was ended."""


class Worker:
    """Runs ``work(request, report)`` for each request in one process, until it ends or is closed."""

    def __init__(self, work: Callable[[Any, Callable[[Any], None]], None]):
        self._work, self._process, self._pipe = work, None, None

    def ask(self, request: Any, seconds: float) -> Iterator[Any]:
        """What ``work`` reports. Gone when the process ends before that; TimedOut after ``seconds``."""
        if self._process is None:
            self._start()
        self._pipe.send(request)
        end = time.monotonic() + seconds
        while True:
            try:
                if not self._pipe.poll(max(0.0, end - time.monotonic())):
                    self.close()
                    raise TimedOut(f"no answer within {seconds:.0f} s")
                done, report = self._pipe.recv()
            except (EOFError, OSError):
                self._process.join(5)
                code = self._process.exitcode
                self.close()
                raise Gone(f"its process ended with {_ending(code)}") from None
            if done is None:  # the exception that ends it
                self.close()
                raise Gone(f"its process raised {report}")
            if done:
                return
            yield report

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._pipe.close()
            self._process = None

    def _start(self):
        # A fresh interpreter: a GPU's state does not survive a fork.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self._work), daemon=True)
        self._process.start()
        theirs.close()


def _serve(pipe, work):
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    while True:
        try:
            request = pipe.recv()
        except EOFError:
            return
        try:
            work(request, lambda report: pipe.send((False, report)))
        except Exception as error:
            line = (str(error).strip().splitlines() or ["no message"])[0]
            pipe.send((None, f"{type(error).__name__}: {line}"[:300]))
            raise
        pipe.send((True, None))


def _ending(code):
    if code is not None and code < 0:
        return signal.Signals(-code).name
    return f"exit status {code}"
