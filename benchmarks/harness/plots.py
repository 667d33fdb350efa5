"""Grouped bars. Needs matplotlib."""

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
