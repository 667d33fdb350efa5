"""Runs a job in a worker, which may crash or hang."""

import time
from collections.abc import Callable

from .jobs import Job, ScanJob
from .verdict import LOOP
from .worker import Gone, TimedOut, Worker

START = 20.0  # seconds that a job is given more, for the start of its process


def run_job(
    job: Job | ScanJob, worker: Worker, seconds: float, keep: Callable[[list[dict]], None], known: list[dict] = ()
) -> list[dict]:
    """Returns a result for each provider of the job, however it goes. ``seconds`` are left; ``known`` results of an
    earlier run are not measured again. Ctrl-C keeps what is there."""

    def result(provider, status, note):
        return {"case": job.case, "precision": job.precision, "provider": provider, "status": status, "note": note}

    if seconds < job.seconds:
        note = f"{max(0.0, seconds):.0f} s left, it is given {job.seconds:.0f} s"
        return [*known, result(LOOP + ", compiled" if job.compiled else None, "not run", note)]
    end, found, providers = time.monotonic() + seconds, {m["provider"]: m for m in known}, []
    while True:
        running = None
        left = end - time.monotonic()
        limit = min(left, 2 * job.seconds + START)
        try:
            for event in worker.ask((job, set(found)), limit):
                providers = providers or event.get("providers", [])
                running = event.get("running", running)
                if "provider" in event:
                    found[event["provider"]] = {**result(None, None, ""), **event}
        except KeyboardInterrupt:
            keep([*found.values(), result(None, "not run", "interrupted")])
            raise
        except Gone as error:
            if isinstance(error, TimedOut) and limit == left:
                rest = [name for name in providers if name not in found] or [None]
                found |= {name: result(name, "not run", f"the time ran out: {error}") for name in rest}
            elif running in found or running is None:
                rest = [name for name in providers if name not in found] or [None] * (not providers)
                found |= {name: result(name, "failed", str(error)) for name in rest}
            else:
                found[running] = result(running, "failed", str(error))
                if end - time.monotonic() >= job.seconds:
                    continue
                rest = [name for name in providers if name not in found]
                found |= {name: result(name, "not run", "no time to start again") for name in rest}
        return [m for name, m in found.items() if not (job.compiled and name == LOOP)]
