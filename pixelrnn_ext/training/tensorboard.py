"""The log of a training as scalars for TensorBoard; needs the ``tensorboard`` extra."""

from pathlib import Path
from typing import Any

from .optional import need

BOARD = "tensorboard"  # the folder beside the log
EVENTS = f"{BOARD}/events.out.tfevents.*"


def need_tensorboard() -> Any:
    """torch.utils.tensorboard. MissingPackage: there is no tensorboard."""
    return need("torch.utils.tensorboard", "pip install tensorboard, or --no-tensorboard")


class Board:
    """Writes entries of a log, each at once, so that a kill loses none.

    Args:
        folder: that of the training.
        step: where it stands. What a killed process wrote of later steps is not shown any more.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self._folder, self._after = folder / BOARD, step + 1 if step else None
        self._writer: Any = None

    @property
    def is_new(self) -> bool:
        """Whether nothing was written before."""
        return not any(self._folder.parent.glob(EVENTS))

    def write(self, event: str, step: int, score: float, unit: str, **values: Any) -> None:
        if self._writer is None:
            self._writer = need_tensorboard().SummaryWriter(str(self._folder), purge_step=self._after)
            self._after = None  # once: a purge hides what comes before it in the files
        self._writer.add_scalar(f"{unit}/{event}", score, step)
        if "images_per_second" in values:
            self._writer.add_scalar("images per second", values["images_per_second"], step)
        self._writer.flush()

    def close(self) -> None:
        """What is written afterwards goes on in another file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
