"""What the GPU day knows so far, on disk after every change."""

import json
import os
from contextlib import suppress
from pathlib import Path


class Results:
    """results.json: {"environment": {}, "parts": {name: {"status", "note"}}, "tests": {part: {}}, "layouts",
    "exchange", "operators", "measurements", "verdicts": [{}]}; the tests as pytest_runs.read has them.
    """

    TABLES = ("layouts", "exchange", "operators", "measurements")

    def __init__(self, folder: Path):
        """Goes on with what the folder already holds."""
        self.path, self.unsaved = folder / "results.json", None
        self.clear()
        if self.path.exists():
            self.data |= json.loads(self.path.read_text())

    def clear(self) -> None:
        self.data = {"environment": {}, "parts": {}, "tests": {}}
        self.data |= {table: [] for table in (*self.TABLES, "verdicts")}

    def start(self, environment: dict) -> None:
        """Drops the results of another card or source, which are not mixed with this one's."""
        same = ("card", "torch", "commit", "csrc")
        if any(self.data["environment"].get(name) != environment[name] for name in same):
            self.clear()
        self.data["environment"] = environment
        self.save()

    def part(self, name: str, status: str, note: str) -> None:
        self.data["parts"][name] = {"status": status, "note": note}
        self.save()

    def tests(self, part: str, found: dict | None) -> None:
        self.data["tests"][part] = found
        self.save()

    def of(self, part: str, job, table: str = "measurements") -> list[dict]:
        """Returns what is known of a part's job."""
        return [m for m in self.data[table] if _is_of(m, part, job)]

    def put(self, part: str, job, measurements: list[dict], table: str = "measurements") -> None:
        """Replaces what is known of a part's job."""
        others = [m for m in self.data[table] if not _is_of(m, part, job)]
        self.data[table] = others + [{**m, "part": part} for m in measurements]
        self.save()

    def forget(self, part: str) -> None:
        """The measurements of a part that is run afresh."""
        for table in self.TABLES:
            self.data[table] = [m for m in self.data[table] if m.get("part") != part]

    def verdicts(self, lines: list) -> None:
        self.data["verdicts"] = [line._asdict() for line in lines]
        self.save()

    def save(self) -> None:
        """A reader, or a run that is killed meanwhile, finds the old file or the new one. Where the disk is full,
        ``unsaved`` says so, and the next save may succeed."""
        draft = self.path.with_suffix(".tmp")
        try:
            draft.write_text(json.dumps(self.data, indent=1) + "\n")
            os.replace(draft, self.path)
            self.unsaved = None
        except OSError as error:
            self.unsaved = f"cannot write {self.path}: {error.strerror}"
            with suppress(OSError):
                draft.unlink()


def _is_of(measurement, part, job):
    return (measurement["part"], measurement["case"], measurement["precision"]) == (part, job.case, job.precision)
