"""Tests the notebook's source in a short run, and that the stored notebook is a run of this source."""

import base64
import json
import re
import runpy

import pytest

from helpers import child
from helpers.root import ROOT

FOLDER = ROOT / "docs/notebooks"
SOURCE = FOLDER / "pixelrnn.py"


@pytest.fixture(scope="module")
def cells():
    jupytext = pytest.importorskip("jupytext", reason="needs the test extra")
    return [(cell.cell_type, cell.source) for cell in jupytext.read(SOURCE).cells]


@pytest.fixture(scope="module")
def stored():
    return json.loads((FOLDER / "pixelrnn.ipynb").read_text())


def test_the_source_runs():
    pytest.importorskip("mlxtend", reason="needs the train extra")
    done = child.python(SOURCE, env=child.environment() | {"PIXELRNN_SHORT": "1", "MPLBACKEND": "agg"})
    assert done.returncode == 0, done.stderr


def test_the_stored_notebook_has_the_cells_of_the_source(stored, cells):
    found = [(cell["cell_type"], "".join(cell["source"])) for cell in stored["cells"]]
    assert found == cells, "`make notebook` runs the source and stores the notebook"


def test_every_section_has_a_picture(stored):
    section, pictures = "", {}
    for cell in stored["cells"]:
        if cell["cell_type"] == "markdown":
            for section in re.findall(r"^## (.*)", "".join(cell["source"]), re.MULTILINE):
                pictures[section] = []
        else:
            pngs = (output.get("data", {}).get("image/png") for output in cell["outputs"])
            pictures.setdefault(section, []).extend(base64.b64decode("".join(png)) for png in pngs if png)
    assert pictures.pop("") == [] and len(pictures) == 8
    assert [section for section, pngs in pictures.items() if not pngs] == []
    assert all(png.startswith(b"\x89PNG") for pngs in pictures.values() for png in pngs)


def test_the_stored_notebook_is_whole_and_small(stored):
    assert (FOLDER / "pixelrnn.ipynb").stat().st_size < 400_000
    code = [cell for cell in stored["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert {output["output_type"] for output in outputs} == {"stream", "display_data"}
    assert not [output for output in outputs if output.get("name") == "stderr"]
    # A run in which the tests' environment variable cuts the training is not stored.
    nats = re.findall(r"([\d.]+) nats on validation images", json.dumps(outputs))
    assert 80 < float(nats[-1]) < 110


def test_the_site_shows_every_cell_and_output(stored, cells):
    page = runpy.run_path(str(ROOT / "docs/notebook.py"))["to_myst"](stored)
    assert all(text in page for _, text in cells)
    for output in (output for cell in stored["cells"] if cell["cell_type"] == "code" for output in cell["outputs"]):
        assert output.get("data", {}).get("image/png", "".join(output.get("text", ""))).strip() in page
