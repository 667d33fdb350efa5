"""The pictures that a training leaves in its folder."""

import math
import warnings
from collections.abc import Callable
from pathlib import Path

from ..models import AutoregressiveModel
from . import output
from .curve import CURVE, write_learning_curve
from .data import DataSet
from .drawing import cycled_classes, draw
from .grid import write_grid
from .journal import Entry
from .optional import need
from .progress import bar, follow


class Gallery:
    """The learning curve, and samples; that one cannot be drawn or written ends no training.

    Args:
        folder: that of the training.
        samples: images in a picture; 0 for no picture.
        seed: of the samples.
        say: prints a line.
    """

    def __init__(self, folder: Path, data: DataSet, samples: int, seed: int, say: Callable[[str], object]) -> None:
        self._folder, self._data, self._samples, self._seed, self._say = folder, data, samples, seed, say
        self._draws_curve = _can_draw("a learning curve", "matplotlib.figure")
        self._draws_samples = samples > 0 and _can_draw("pictures of samples", "PIL.Image", "torchvision.utils")

    def draw(
        self, model: AutoregressiveModel, step: int, entries: list[Entry], stop: Callable[[], bool], again: bool
    ) -> None:
        """The pictures of a step; ``again``: those of samples that are there, too."""
        samples = self._folder / output.SAMPLES.format(step)
        pictures: dict[Path, Callable[[Path], None]] = {}
        if self._draws_curve:
            pictures[self._folder / CURVE] = lambda path: self._write_curve(path, entries)
        if self._draws_samples and (again or not samples.exists()):
            pictures[samples] = lambda path: self._write_samples(path, model, stop)
        for path, write in pictures.items():
            try:
                write(path)
            except Exception as error:  # of the disk, Pillow, matplotlib or the memory
                self._say(f"training goes on without {path}: {_reason(error)}")

    def _write_curve(self, path: Path, entries: list[Entry]) -> None:
        write_learning_curve(path, entries, self._data.description, self._data.unit)

    def _write_samples(self, path: Path, model: AutoregressiveModel, stop: Callable[[], bool]) -> None:
        count = self._samples
        with bar("rows", what="samples") as shown:
            show = follow(shown)

            def progress(done: int, total: int) -> None:
                show(done, total)
                if stop():
                    raise KeyboardInterrupt

            images, finished = draw(
                model,
                count,
                self._data.shape,
                seed=self._seed,
                condition=cycled_classes(count, model.condition_channels),
                progress=progress,
            )
        if finished:
            write_grid(path, images / (self._data.levels - 1), math.ceil(count**0.5))


def _can_draw(what: str, *packages: str) -> bool:
    try:
        for package in packages:
            need(package)
    except Exception as error:  # a torchvision for another torch raises RuntimeError
        warnings.warn(f"training goes on without {what}: {_reason(error)}", stacklevel=3)
        return False
    return True


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0]
