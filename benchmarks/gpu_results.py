"""What benchmarks/gpu_day.py knows so far, on disk after every change."""

import json
import os
from pathlib import Path


class Results:
    """results.json: {"environment": {}, "parts": {name: {"status", "note"}}, "measurements": [{}]}."""

    def __init__(self, folder: Path, keep: bool = False):
        """``keep``: go on with what the folder already holds."""
        self.path = folder / "results.json"
        self.data = {"environment": {}, "parts": {}, "measurements": []}
        if keep and self.path.exists():
            self.data = json.loads(self.path.read_text())

    def part(self, name: str, status: str, note: str) -> None:
        self.data["parts"][name] = {"status": status, "note": note}
        self.save()

    def add(self, measurements: list[dict]) -> None:
        self.data["measurements"] += measurements
        self.save()

    def save(self) -> None:
        """A reader, or a run that is killed meanwhile, finds the old file or the new one."""
        draft = self.path.with_suffix(".tmp")
        draft.write_text(json.dumps(self.data, indent=1) + "\n")
        os.replace(draft, self.path)
