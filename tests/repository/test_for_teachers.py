"""Tests that the exercises of docs/for_teachers.md can be solved, and that its pictures of faults are up to date."""

import re
import runpy

import numpy as np
import pytest
import torch
from PIL import Image

import faulty_models as faults
from helpers.root import ROOT

PAGE = ROOT / "docs/for_teachers.md"
PICTURES = runpy.run_path(str(ROOT / "docs/faults/fault_pictures.py"))
FAULTS = PICTURES["LEAKS"] + PICTURES["BLIND"]

FIRST, *EXERCISES = re.split("^## Exercise ", PAGE.read_text().partition("## Faults")[0], flags=re.MULTILINE)
# {number of the exercise: the code that a student should write}
SOLUTIONS = {
    "1": """
def mask_a(side):
    return (torch.arange(side * side) < side * side // 2).float().view(side, side)
""",
    "2": """
class Masked(nn.Conv2d):
    def __init__(self):
        super().__init__(1, 4, 3, padding=1)
        self.register_buffer("mask", px.masks.causal_mask("A", 4, 1, 3))

    def forward(self, x):
        return F.conv2d(x, self.weight * self.mask, self.bias, padding=1)
""",
    "3": """
def row_state(x):
    before = F.pad(x, (1, 0))[..., :-1]
    rows, above = [], torch.zeros_like(x[:, :, 0])
    for row in range(x.shape[2]):
        padded = F.pad(above, (1, 1))
        above = x[:, :, row] + before[:, :, row] + padded[..., :-2] + padded[..., 1:-1] + padded[..., 2:]
        rows.append(above)
    return torch.stack(rows, 2)
""",
    "4": """
left, right = px.DiagonalLSTM(1, 4).double(), px.DiagonalLSTM(1, 4).double()

def both(x):
    return left(x) + F.pad(right(x.flip(3)).flip(3), (0, 0, 1, 0))[:, :, :-1]
""",
    "5": """
def colour_mask(features):
    colour = torch.arange(features) // (features // 3)
    return (colour[:, None] >= torch.arange(3)).float()
""",
    "6": """
model = nn.Sequential(px.MaskedConv2d(1, 8, 3, "A"), nn.ELU(), px.MaskedConv2d(8, 1, 1, "B"))

def log_prob(images):
    nats = F.binary_cross_entropy_with_logits(model(images), images, reduction="none")
    return -nats.sum((1, 2, 3))
""",
    "7": """
causal = nn.Sequential(px.MaskedConv2d(1, 8, 3, "A"), nn.ELU(), px.MaskedConv2d(8, 1, 1, "B"))

@torch.no_grad()
def draw(uniform):
    images = torch.zeros_like(uniform)
    for row in range(uniform.shape[2]):
        for column in range(uniform.shape[3]):
            new = (uniform < causal(images).sigmoid()).float()
            images[:, :, row, column] = new[:, :, row, column]
    return images
""",
    "8": """
def bits_per_dim(model, images):
    return -model.log_prob(images).mean().item() / images[0].numel() / torch.tensor(2).log().item()
""",
}


def python(text):
    return re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def names():
    found = {}
    exec(*python(FIRST), found)
    return found


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda text: text.partition("\n")[0])
def test_an_exercise_fails_as_given_and_passes_when_solved(exercise):
    given, check = python(exercise)
    assert len(given.strip().splitlines()) <= 15
    for code, passed in ((given, False), (SOLUTIONS[exercise[0]], True)):
        values = names()
        exec(code, values)
        exec(check, values)
        assert values["passed"] is passed


def test_every_exercise_has_a_solution():
    assert [exercise[0] for exercise in EXERCISES] == list(SOLUTIONS)


@pytest.mark.parametrize("name", FAULTS)
def test_a_row_of_the_table_shows_what_the_check_says(name):
    sentence, picture = PICTURES["explain"](name)
    file = PICTURES["file_of"](name)
    row = rf"^\| !\[{re.escape(name)}\]\(faults/{file.name}\) \| [^|]+ \| {re.escape(sentence)} \|$"
    assert re.search(row, PAGE.read_text(), re.MULTILINE), f"expected the sentence {sentence!r} in the row of {name}"
    with Image.open(file) as stored:
        pixels = torch.from_numpy(np.array(stored)).permute(2, 0, 1)
    assert torch.equal(pixels, picture), "python docs/faults/fault_pictures.py draws it anew"


def test_the_table_names_faults_that_exist_and_no_others():
    rows = re.findall(r"^\| !\[(.+?)\]", PAGE.read_text(), re.MULTILINE)
    assert rows == list(FAULTS) and set(FAULTS) <= faults.LEAKS.keys() | faults.BLIND.keys()
    assert {path.name for path in (ROOT / "docs/faults").glob("*.png")} == {
        PICTURES["file_of"](name).name for name in FAULTS
    }
