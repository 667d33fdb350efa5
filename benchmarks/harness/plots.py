"""Bars. Needs matplotlib."""

from pathlib import Path


def horizontal_bars(path: Path, values: dict[str, float], title: str, below: str) -> None:
    """One labelled bar a value, from the top, on nothing: grey and blue are read on white as on black."""
    from matplotlib.figure import Figure

    grey, blue = "#808080", "#3d84d6"
    figure = Figure(figsize=(8, 1.1 + 0.36 * len(values)), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh(list(values), list(values.values()), 0.66, color=blue)
    axes.bar_label(bars, [f"{value:.1f} x" for value in values.values()], padding=4, color=grey, weight="bold")
    axes.axvline(1, color=grey, linestyle="--", linewidth=0.8)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlim(left=0)
    axes.set_title(title, color=grey, fontsize=11, loc="left")
    axes.set_xlabel(below, color=grey, fontsize=8, loc="left")
    axes.tick_params(colors=grey, left=False, bottom=False, labelbottom=False)
    axes.spines[:].set_visible(False)
    figure.savefig(path, dpi=150, transparent=True)
