"""Work for benchmarks/gpu_day/worker.py that goes wrong. A module of its own, since a spawned process imports it."""

import os
import signal
import time


def work(request, report):
    """Reports each item, and does what it says."""
    for item in request:
        report(item)
        if item == "exit":
            os._exit(3)
        if item == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        if item == "hang":
            time.sleep(60)
        if item == "raise":
            raise SystemExit(4)
        if item == "error":
            raise RuntimeError("broken\nin many words")
