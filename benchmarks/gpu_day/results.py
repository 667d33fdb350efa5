import json
import os
from contextlib import suppress
from pathlib import Path

STARTED = ("running", "checked")
PENDING = (*STARTED, "not run")  # a later run measures implementations of these statuses again


class Results:
    """Results of tests and benchmarks, kept in results.json.

    "measurements" has the last report on each provider (implementation) of a job, or on the whole job if the provider
    is None.
    """

    def __init__(self, folder: Path):
        """Only reads results.json, since another process may be writing it."""
        self.path, self.unsaved = folder / "results.json", None
        self.clear()
        if self.path.exists():
            self.data |= json.loads(self.path.read_text())
            if any("job" not in m for m in self.data["measurements"]):
                raise ValueError("the results of another version")

    def clear(self) -> None:
        self.data = {"environment": {}, "parts": {}, "measurements": [], "verdicts": []}

    def start(self, environment: dict) -> None:
        self.stop()
        same = ("card", "torch", "commit", "csrc")
        if any(self.data["environment"].get(name) != environment[name] for name in same):
            self.clear()
        self.data["environment"] = environment
        self.save()

    def set_part(self, name: str, status: str, note: str, **facts) -> None:
        self.data["parts"][name] = {"status": status, "note": note, **facts}
        self.save()

    def select(self, *parts: str) -> list[dict]:
        return [m for m in self.data["measurements"] if m["part"] in parts]

    def forget(self, part: str) -> None:
        self.data["measurements"] = [m for m in self.data["measurements"] if m["part"] != part]

    def add(self, part: str, job, provider: str | None, status: str, note: str = "", **facts) -> None:
        names = {"part": part, "job": str(job), "case": job.case, "precision": job.precision, "provider": provider}
        found = {(m["part"], m["job"], m["provider"]): m for m in self.data["measurements"]}
        found[part, str(job), provider] = {**names, "status": status, "note": note, **facts}
        self.data["measurements"] = list(found.values())
        if status != "running":
            self.save()

    def is_finished(self, part: str, job) -> bool:
        return None in self.finished_providers(part, job)

    def finished_providers(self, part: str, job) -> set[str]:
        return {m["provider"] for m in self.select(part) if m["job"] == str(job) and m["status"] not in PENDING}

    def stop(self) -> None:
        self._settle([m for m in self.data["measurements"] if m["status"] in STARTED], "not run", "stopped")

    def fail_running(self, part: str, why: str) -> None:
        """Records as failed all implementations that are being measured.

        If a job of ``part`` is running, but no implementation is being measured, the function records the job as
        failed. Raises RuntimeError if no job is running, either.
        """
        running = [m for m in self.select(part) if m["status"] == "running"]
        self._settle([m for m in running if m["provider"]] or running, "failed", why)
        if not running:
            raise RuntimeError(why)

    def _settle(self, measurements: list[dict], status: str, note: str) -> None:
        for m in measurements:
            m.update(status=status, note=m["note"] or note)
        self.save()

    def set_verdicts(self, lines: list) -> None:
        self.data["verdicts"] = [line._asdict() for line in lines]
        self.save()

    def save(self) -> None:
        """Replaces results.json atomically. If the write fails, ``unsaved`` says why."""
        draft = self.path.with_suffix(".tmp")
        try:
            draft.write_text(json.dumps(self.data, indent=1) + "\n")
            os.replace(draft, self.path)
            self.unsaved = None
        except OSError as error:
            self.unsaved = f"cannot write {self.path}: {error.strerror}"
            with suppress(OSError):
                draft.unlink()
