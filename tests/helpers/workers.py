"""A benchmark job that fails on purpose. It has its own module, which the processes of gpu_day can import."""

import os
import signal
import time
from typing import NamedTuple


class ScriptedJob(NamedTuple):
    """A job that makes one measurement for each word. A word such as "hang" or "crash" makes the job fail."""

    words: str
    case: str = "a case"
    precision: str = "fp32"
    seconds: float = 0.5

    def __str__(self):
        return self.words

    def measure(self, known, report):
        for word in self.words.split():
            if word in known:
                continue
            report(word, "running")
            if word == "exit":
                os._exit(3)
            if word == "crash":
                os.kill(os.getpid(), signal.SIGSEGV)
            if word == "hang":
                time.sleep(60)
            if word == "raise":
                raise SystemExit(4)
            if word == "error":
                raise RuntimeError("broken\nin many words")
            report(word, "checked" if word == "later" else "ok")
        if "nobody" in self.words:
            os._exit(5)
        if "later" in self.words:
            report("later", "ok")
