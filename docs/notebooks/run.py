"""Runs pixelrnn.py as a notebook, and writes pixelrnn.ipynb with the outputs: `make notebook`.

The source is plain Python in jupytext's percent format. Needs `pip install --group notebook`.
"""

import re
import time
from pathlib import Path

SOURCE = Path(__file__).with_name("pixelrnn.py")
NOTEBOOK = SOURCE.with_suffix(".ipynb")
# A run of the same source leaves the same metadata.
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def cells(source):
    """Returns the cells of a source in the percent format, as [("markdown" or "code", text)]."""
    _, *parts = re.split(r"^# %%( \[markdown\])?\n", source, flags=re.MULTILINE)
    return [
        ("markdown", re.sub(r"^# ?", "", text.strip(), flags=re.MULTILINE)) if kind else ("code", text.strip())
        for kind, text in zip(parts[::2], parts[1::2])
    ]


def main():
    import nbformat
    from nbclient import NotebookClient

    make = {"markdown": nbformat.v4.new_markdown_cell, "code": nbformat.v4.new_code_cell}
    notebook = nbformat.v4.new_notebook(metadata=METADATA)
    notebook.cells = [make[kind](text, id=f"cell-{i}") for i, (kind, text) in enumerate(cells(SOURCE.read_text()))]
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
