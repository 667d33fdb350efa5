"""Writes the log of a training, one JSON object in each line, and a copy of the log for TensorBoard."""

import json
import warnings
from pathlib import Path
from typing import Any

from .files import write_atomically
from .optional import need

LOG = "log.jsonl"
BOARD = "tensorboard"
EVENTS = f"{BOARD}/events.out.tfevents.*"
TENSORBOARD = "torch.utils.tensorboard", "pip install tensorboard, or --no-tensorboard"

Entry = dict[str, Any]


def _parse_entry(line: bytes) -> Entry | None:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    types: Any = dict(event=str, step=int, score=(int, float))
    is_valid = isinstance(entry, dict) and all(isinstance(entry.get(name), kind) for name, kind in types.items())
    return entry if is_valid else None


def read(folder: Path) -> list[Entry]:
    """Returns the log's entries in a folder. Leaves out an incomplete last line, and warns of other invalid lines."""
    path = folder / LOG
    *lines, _ = path.read_bytes().split(b"\n") if path.exists() else [b""]
    entries = []
    for number, line in enumerate(lines, 1):
        entry = _parse_entry(line)
        if entry is None:
            warnings.warn(f"{path}: line {number} is not an entry of a log, and is left out", stacklevel=2)
        else:
            entries.append(entry)
    return entries


class Journal:
    """Appends entries to a training's log, and to a TensorBoard ``board``.

    A training that resumes at ``step`` keeps the old entries up to this step. A new training writes nothing before
    :meth:`begin`.
    """

    def __init__(self, folder: Path, step: int, board: "Board | None" = None, **common: Any) -> None:
        self.common: Entry = common
        self._board = board
        before = read(folder) if step else []
        # The resumed training changes the model, so an old test score is void.
        self.entries: list[Entry] = [entry for entry in before if entry["step"] <= step and entry["event"] != "test"]
        self._path, self._begun = folder / LOG, False
        if step:
            self.begin()

    def begin(self) -> None:
        """Replaces the log file by one with all entries so far, at the first call only."""
        if not self._begun:
            write_atomically(self._path, "".join(json.dumps(entry) + "\n" for entry in self.entries).encode())
            self._begun = True
            self._show()

    def _show(self) -> None:
        if self._board:
            self._board.show(self.entries)

    def close(self) -> None:
        if self._board:
            self._board.close()

    def write(self, event: str, step: int, **values: Any) -> None:
        entry = {"event": event, "step": step, **values, **self.common}
        self.entries.append(entry)
        if not self._begun:
            return
        try:
            with self._path.open("a") as file:
                file.write(json.dumps(entry) + "\n")
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._path)) from error
        self._show()


class Board:
    """Writes the entries of a log as TensorBoard scalars.

    Flushes each entry, so that none is lost if the process is killed.
    """

    def __init__(self, folder: Path, unit: str) -> None:
        self._folder, self._unit = folder, unit
        self._writer: Any = None

    def show(self, entries: list[Entry]) -> None:
        """Appends the last entry to the open file. If none is open, replaces all events by a file of all entries.

        A resumed training may repeat steps. TensorBoard reads several files in the order of the clock, which may have
        been set back between them.
        """
        new = entries[-1:]
        if self._writer is None:
            for old in self._folder.glob(EVENTS):
                old.unlink()
            # purge_step makes a running TensorBoard forget earlier events.
            self._writer = need(*TENSORBOARD).SummaryWriter(str(self._folder / BOARD), purge_step=0)
            new = entries
        for entry in new:
            self._writer.add_scalar(f"{entry.get('unit', self._unit)}/{entry['event']}", entry["score"], entry["step"])
            if "images_per_second" in entry:
                self._writer.add_scalar("images per second", entry["images_per_second"], entry["step"])
        self._writer.flush()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
