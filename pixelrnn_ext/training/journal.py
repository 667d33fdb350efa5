"""The log of a training: one JSON object a line, with the data set's description in each; for TensorBoard, too."""

import json
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .files import write_atomically
from .optional import need

LOG = "log.jsonl"
BOARD = "tensorboard"  # the folder beside the log
EVENTS = f"{BOARD}/events.out.tfevents.*"
TENSORBOARD = "torch.utils.tensorboard", "pip install tensorboard, or --no-tensorboard"  # arguments of need

Entry = dict[str, Any]


def _entry(line: bytes) -> Entry | None:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    types: dict[str, type | tuple[type, ...]] = dict(event=str, step=int, score=(int, float))
    whole = isinstance(entry, dict) and all(isinstance(entry.get(name), kind) for name, kind in types.items())
    return entry if whole else None


def read(folder: Path) -> list[Entry]:
    """Returns the entries of a log, without half a line that a crash left. Warns of any other line that is no entry."""
    path = folder / LOG
    *lines, _ = path.read_bytes().split(b"\n") if path.exists() else [b""]
    entries = []
    for number, line in enumerate(lines, 1):
        entry = _entry(line)
        if entry is None:
            warnings.warn(f"{path}: line {number} is not an entry of a log, and is left out", stacklevel=2)
        else:
            entries.append(entry)
    return entries


class Journal:
    """Appends entries to the log of a folder, and to TensorBoard's events if there is a ``board``.

    A resumed training keeps the entries up to its step. A new training writes nothing before :meth:`begin`, when its
    first checkpoint is there.
    """

    def __init__(self, folder: Path, step: int, board: "Board | None" = None, **always: Any) -> None:
        self.always: Entry = always
        self._board = board
        before = read(folder) if step else []
        # A resumed training has not ended: its score on the test split is no longer valid.
        self.entries: list[Entry] = [entry for entry in before if entry["step"] <= step and entry["event"] != "test"]
        self._path, self._begun = folder / LOG, False
        if step:
            self.begin()

    def begin(self) -> None:
        """Replaces the log by the entries so far; does nothing when called again."""
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
        except OSError as error:  # on a full disk the system's error does not name the file
            raise OSError(error.errno, error.strerror, str(self._path)) from error
        if self._board:
            self._board.write(entry)


class Board:
    """Writes the entries of the log in ``folder`` as TensorBoard's scalars, each at once, so that a kill loses none."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: Any = None
        self._purge: int | None = None

    def begin(self, entries: Iterable[Entry]) -> None:
        """Replaces all events in the folder, which may be of steps that a resumed training repeats."""
        for old in self._folder.glob(EVENTS):
            old.unlink()
        self._purge = 0  # tells a TensorBoard that is open to forget the events it has read
        for entry in entries:
            self.write(entry)

    def write(self, entry: Entry) -> None:
        if self._writer is None:
            self._writer = need(*TENSORBOARD).SummaryWriter(str(self._folder / BOARD), purge_step=self._purge)
            self._purge = None
        self._writer.add_scalar(f"{entry.get('unit', 'score')}/{entry['event']}", entry["score"], entry["step"])
        if "images_per_second" in entry:
            self._writer.add_scalar("images per second", entry["images_per_second"], entry["step"])
        self._writer.flush()

    def close(self) -> None:
        """Closes the file of events. A later entry begins another file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
