"""Draws the validation scores of several trainings: `python docs/learning_curves.py RUN... --out curves.png`."""

import argparse
from pathlib import Path

from pixelrnn_ext.training.gallery import write_curves
from pixelrnn_ext.training.journal import LOG, read


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="the folder of a training")
    parser.add_argument("--out", required=True, type=Path, metavar="FILE", help="the picture, a PNG file")
    options = parser.parse_args(arguments)
    curves, unit = {}, ""
    for run in options.runs:
        entries = [entry for entry in read(run) if entry["event"] == "validation"]
        if not entries:
            parser.error(f"expected validation scores in {run / LOG}, got none")
        curves[run.name], unit = [(entry["step"], entry["score"]) for entry in entries], entries[0]["unit"]
    write_curves(options.out, curves, "validation", unit)


if __name__ == "__main__":
    main()
