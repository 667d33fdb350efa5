"""The log of a training as scalars for TensorBoard; needs the ``tensorboard`` extra."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .optional import need

BOARD = "tensorboard"  # the folder beside the log
EVENTS = f"{BOARD}/events.out.tfevents.*"
Entry = dict[str, Any]  # of the log


def need_tensorboard() -> Any:
    """torch.utils.tensorboard. MissingPackage: there is no tensorboard."""
    return need("torch.utils.tensorboard", "pip install tensorboard, or --no-tensorboard")


class Board:
    """Shows the log of the training in ``folder``; each entry is written at once, so that a kill loses none."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: Any = None
        self._purge: int | None = None

    def begin(self, entries: Iterable[Entry]) -> None:
        """Shows these entries, and nothing that was written before: steps that are done again, a test that is not the
        last any more."""
        for old in self._folder.glob(EVENTS):
            old.unlink()
        self._purge = 0  # for a TensorBoard that is open, and has read them
        for entry in entries:
            self._add(**entry)
        self._flush()

    def write(self, entry: Entry) -> None:
        self._add(**entry)
        self._flush()

    def _add(self, event: str, step: int, score: float, unit: str, **values: Any) -> None:
        if self._writer is None:
            self._writer = need_tensorboard().SummaryWriter(str(self._folder / BOARD), purge_step=self._purge)
            self._purge = None  # once: it hides what comes before it
        self._writer.add_scalar(f"{unit}/{event}", score, step)
        if "images_per_second" in values:
            self._writer.add_scalar("images per second", values["images_per_second"], step)

    def _flush(self) -> None:
        if self._writer is not None:
            self._writer.flush()

    def close(self) -> None:
        """What is written afterwards goes on in another file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
