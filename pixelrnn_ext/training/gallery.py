import io
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .._sentences import reason
from ..models import AutoregressiveModel
from .data import DataSet
from .drawing import cycled_classes, draw
from .files import write_atomically
from .grid import write_grid
from .journal import Entry
from .optional import need
from .output import CURVE, SAMPLES
from .progress import rows_bar


class Gallery:
    """Writes a training's learning curve, and ``samples`` images that the model generates.

    If writing fails, the training goes on without the picture.
    """

    def __init__(self, folder: Path, data: DataSet, samples: int, seed: int, say: Callable[[str], object]) -> None:
        self._folder, self._data, self._samples, self._seed, self._say = folder, data, samples, seed, say
        self._draws_curve = _can_draw("a learning curve", "matplotlib.figure")
        self._draws_samples = samples > 0 and _can_draw("pictures of samples", "PIL.Image")

    def draw(
        self, model: AutoregressiveModel, step: int, entries: list[Entry], stop: Callable[[], bool], redraw: bool = True
    ) -> None:
        """If ``redraw`` is false, keeps existing samples."""
        curve, samples = self._folder / CURVE, self._folder / SAMPLES.format(step)
        if self._draws_curve:
            with self._tolerate_failure(curve):
                write_learning_curve(curve, entries, self._data.description, self._data.unit)
        if self._draws_samples and (redraw or not samples.exists()):
            with self._tolerate_failure(samples):
                self._write_samples(samples, model, stop)

    @contextmanager
    def _tolerate_failure(self, picture: Path) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._say(f"training goes on without {picture}: {getattr(error, 'strerror', None) or reason(error)}")

    def _write_samples(self, path: Path, model: AutoregressiveModel, stop: Callable[[], bool]) -> None:
        count = self._samples
        condition = cycled_classes(count, model.condition_channels)
        with rows_bar("samples") as show:

            def progress(done: int, total: int) -> None:
                show(done, total)
                if stop():
                    raise KeyboardInterrupt

            images, finished = draw(
                model, count, self._data.shape, seed=self._seed, condition=condition, progress=progress
            )
        if finished:
            write_grid(path, images / (self._data.levels - 1), math.ceil(count**0.5))


def write_learning_curve(path: Path, entries: list[Entry], title: str, unit: str) -> None:
    curves: dict[str, list[tuple[int, float]]] = {"train": [], "validation": []}
    for entry in entries:
        curves.get(entry["event"], []).append((entry["step"], entry["score"]))
    write_curves(path, curves, title, unit)


def write_curves(path: Path, curves: dict[str, list[tuple[int, float]]], title: str, unit: str) -> None:
    """Draws the points (step, score) of each curve, under its name. Points of a curve "train" have no markers."""
    figure = need("matplotlib.figure").Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, points in curves.items():
        if points:
            axes.plot(*zip(*points), marker="" if name == "train" else "o", markersize=3, label=name)
    scores = sorted(score for points in curves.values() for _, score in points)
    # Cuts off the high first scores, which would flatten the curve.
    axes.set_ylim(top=scores[int(0.95 * (len(scores) - 1))] + 0.3 * (scores[len(scores) // 2] - scores[0]) + 1e-3)
    axes.set(title=title, xlabel="step", ylabel=unit)
    axes.title.set_fontsize("small")
    axes.grid(alpha=0.3)
    axes.legend()
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=110)
    write_atomically(path, picture.getbuffer())


def _can_draw(what: str, package: str) -> bool:
    try:
        need(package)
    except Exception as error:  # a package of an incompatible version may raise any error
        warnings.warn(f"training goes on without {what}: {reason(error)}", stacklevel=3)
        return False
    return True
