"""The log of a training: one JSON object a line, with the data set's description in each."""

import json
import warnings
from pathlib import Path
from typing import Any

from .files import write_atomically
from .tensorboard import Board, Entry

LOG = "log.jsonl"


def _entry(line: bytes) -> Entry | None:
    """The entry of a line; None where it is none."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    types: dict[str, type | tuple[type, ...]] = dict(event=str, step=int, score=(int, float))
    whole = isinstance(entry, dict) and all(isinstance(entry.get(name), of) for name, of in types.items())
    return entry if whole else None


def read(folder: Path, until: int | None = None) -> list[Entry]:
    """The entries, those after step ``until`` left out, and half a line that a crash left; a warning for other
    lines."""
    path = folder / LOG
    *lines, _ = path.read_bytes().split(b"\n") if path.exists() else [b""]
    entries = []
    for number, line in enumerate(lines, 1):
        entry = _entry(line)
        if entry is None:
            warnings.warn(f"{path}: line {number} is not an entry of a log, and is left out", stacklevel=2)
        elif until is None or entry["step"] <= until:
            entries.append(entry)
    return entries


class Journal:
    """Appends to the log of a folder. A resumed training keeps the entries up to its step, and no later ones.

    That of a new training is written from :meth:`begin` on, when there is a checkpoint that it belongs to. A ``board``
    shows what the log holds.
    """

    always: Entry
    entries: list[Entry]

    def __init__(self, folder: Path, step: int, board: Board | None = None, **always: Any) -> None:
        self.always = always
        self._board = board
        # What was the end of the training is none any more.
        self.entries = [entry for entry in read(folder, step) if entry["event"] != "test"] if step else []
        self._path, self._begun = folder / LOG, False
        if step:
            self.begin()

    def begin(self) -> None:
        """Writes what there is so far; a log that was there is replaced."""
        if not self._begun:
            write_atomically(self._path, "".join(json.dumps(entry) + "\n" for entry in self.entries).encode())
            self._begun = True
            if self._board:
                self._board.begin(self.always | entry for entry in self.entries)

    def close(self) -> None:
        if self._board:
            self._board.close()

    def write(self, event: str, step: int, **values: Any) -> None:
        entry = {"event": event, "step": step, **values, **self.always}
        self.entries.append(entry)
        if not self._begun:
            return
        try:
            with self._path.open("a") as file:
                file.write(json.dumps(entry) + "\n")
        except OSError as error:  # a full disk does not say where
            raise OSError(error.errno, error.strerror, str(self._path)) from error
        if self._board:
            self._board.write(entry)
