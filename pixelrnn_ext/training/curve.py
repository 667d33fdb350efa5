"""The picture of a learning curve."""

import io
from pathlib import Path

from .files import write_atomically
from .journal import Entry
from .optional import need

CURVE = "learning-curve.png"


def write_learning_curve(path: Path, entries: list[Entry], title: str, unit: str) -> None:
    """Draws the train and validation entries of a journal over the steps, as a PNG."""
    figure = need("matplotlib.figure").Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for event, marker in (("train", ""), ("validation", "o")):
        points = [(entry["step"], entry["score"]) for entry in entries if entry["event"] == event]
        if points:
            axes.plot(*zip(*points), marker=marker, markersize=3, label=event)
    scores = sorted(entry["score"] for entry in entries if entry["event"] in ("train", "validation"))
    # The first steps are far above all that follows.
    axes.set_ylim(top=scores[int(0.95 * (len(scores) - 1))] + 0.3 * (scores[len(scores) // 2] - scores[0]) + 1e-3)
    axes.set(title=title, xlabel="step", ylabel=unit)
    axes.title.set_fontsize("small")
    axes.grid(alpha=0.3)
    axes.legend()
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=110)
    write_atomically(path, picture.getbuffer())
