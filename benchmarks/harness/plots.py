"""Bars. Needs matplotlib."""

from pathlib import Path


def grouped_bars(path: Path, labels: list[str], series: dict[str, list[float | None]], ylabel, title, lines=()) -> None:
    """One group of bars a label, one bar a series, on a logarithmic axis; ``lines`` are (height, name) across it."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(2 + 1.6 * len(labels), 4.8), layout="constrained")
    width = 0.8 / len(series)
    for i, (name, values) in enumerate(series.items()):
        bars = [(group + (i + 0.5) * width - 0.4, value) for group, value in enumerate(values) if value is not None]
        axes.bar([at for at, _ in bars], [value for _, value in bars], width, label=name)
    for height, name in lines:
        axes.axhline(height, color="black", linestyle="--", linewidth=0.8)
        axes.annotate(name, (1, height), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=8)
    axes.set_xticks(range(len(labels)), labels, fontsize=8)
    axes.set(yscale="log", ylabel=ylabel)
    axes.set_title(title, fontsize=9)
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


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
