"""Runs pixelrnn.py as a notebook, and writes pixelrnn.ipynb with the outputs: `make notebook`.

The source is in jupytext's percent format. Needs `pip install --group notebook`.
"""

import time
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

SOURCE = Path(__file__).with_name("pixelrnn.py")
NOTEBOOK = SOURCE.with_suffix(".ipynb")
# A run of the same source leaves the same metadata.
METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def main():
    notebook = jupytext.read(SOURCE)
    notebook.metadata = METADATA
    for i, cell in enumerate(notebook.cells):
        cell.id = f"cell-{i}"
    started = time.monotonic()
    NotebookClient(
        notebook,
        timeout=None,
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": SOURCE.parent}},
    ).execute()
    print(f"{SOURCE.name} ran in {time.monotonic() - started:.0f} s")
    notebook.metadata = METADATA
    nbformat.write(notebook, NOTEBOOK)


if __name__ == "__main__":
    main()
