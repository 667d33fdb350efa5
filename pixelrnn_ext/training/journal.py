"""The log of a training: one JSON object a line, with the data set's description in each."""

import json
from pathlib import Path

from .files import write_atomically

LOG = "log.jsonl"


def read(folder: Path, until: int | None = None) -> list[dict]:
    """The entries, those after step ``until`` left out, and half a line that a crash left."""
    path = folder / LOG
    entries = []
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if until is None or entry["step"] <= until:
            entries.append(entry)
    return entries


class Journal:
    """Appends to the log of a folder. A resumed training keeps the entries up to its step, and no later ones."""

    def __init__(self, folder: Path, step: int, **always):
        self.always = always
        # What was the end of the training is none any more.
        self.entries = [entry for entry in read(folder, step) if entry["event"] != "test"] if step else []
        self._path = folder / LOG
        write_atomically(self._path, "".join(json.dumps(entry) + "\n" for entry in self.entries).encode())

    def write(self, event: str, step: int, **values) -> None:
        entry = {"event": event, "step": step, **values, **self.always}
        self.entries.append(entry)
        try:
            with self._path.open("a") as file:
                file.write(json.dumps(entry) + "\n")
        except OSError as error:  # a full disk does not say where
            raise OSError(error.errno, error.strerror, str(self._path)) from error
