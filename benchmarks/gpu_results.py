"""What benchmarks/gpu_day.py knows so far, on disk after every change."""

import json
import os
from pathlib import Path


class Results:
    """results.json: {"environment": {}, "parts": {name: {"status", "note"}}, "tests": {part: {}}, "measurements": [{}],
    "verdicts": [{}]}; the tests as gpu_tests.read has them.
    """

    def __init__(self, folder: Path, keep: bool = False):
        """``keep``: go on with what the folder already holds."""
        self.path = folder / "results.json"
        self.clear()
        if keep and self.path.exists():
            self.data |= json.loads(self.path.read_text())

    def clear(self) -> None:
        self.data = {"environment": {}, "parts": {}, "tests": {}, "measurements": [], "verdicts": []}

    def part(self, name: str, status: str, note: str) -> None:
        self.data["parts"][name] = {"status": status, "note": note}
        self.save()

    def tests(self, part: str, found: dict | None) -> None:
        self.data["tests"][part] = found
        self.save()

    def add(self, part: str, measurements: list[dict]) -> None:
        self.data["measurements"] += [{**m, "part": part} for m in measurements]
        self.save()

    def forget(self, part: str) -> None:
        """The measurements of a part that is run again."""
        self.data["measurements"] = [m for m in self.data["measurements"] if m.get("part") != part]

    def verdicts(self, lines: list) -> None:
        self.data["verdicts"] = [line._asdict() for line in lines]
        self.save()

    def save(self) -> None:
        """A reader, or a run that is killed meanwhile, finds the old file or the new one."""
        draft = self.path.with_suffix(".tmp")
        draft.write_text(json.dumps(self.data, indent=1) + "\n")
        os.replace(draft, self.path)
