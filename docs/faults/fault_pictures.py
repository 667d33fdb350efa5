"""Draws the pictures of for_teachers.md, one for each fault: `python docs/faults/fault_pictures.py`."""

from pathlib import Path

import torch
from torch.nn import functional

import faulty_models as faults
import pixelrnn_ext as px

FOLDER = Path(__file__).resolve().parent
LEAKS = (
    "unmasked input",
    "not shifted down",
    "not mirrored back",
    "mask B where A belongs",
    "colours in the wrong order",
    "masks beside the gates",
    "one pixel at the border",
    "H != W",
    "1e-9",
    "rounded integers",
    "carpedm20 Diagonal BiLSTM",
)
BLIND = (
    "narrow kernel",
    "state without its right neighbour",
    "blind triangle",
    "skewed map of 2W - 1 columns",
    "rmsnorm Row LSTM",
    "rmsnorm Diagonal BiLSTM",
)
SIDE, GRAY = 14, 128


def explain(name):
    """Returns what px.causality.check says about a fault, and its picture, uint8 RGB (3, height, width).

    The picture shows the output with a leak or blind spot that is nearest to the pixel left of the centre. At the
    centre itself, a mirrored map would look as if it were not mirrored. Public implementations are shown at the centre,
    for which README counts pixels.
    """
    make, shape, options, pair = (faults.LEAKS if name in LEAKS else faults.BLIND)[name]
    torch.manual_seed(0)
    report = px.causality.check(make(), shape, raises=False, **options)
    if name in LEAKS:
        found, sentence = report.leaks, str(px.causality.CausalityError(report))
    else:
        found = report.blind_spots
        sentence = str(found[found.index(pair)])
    _, height, width = shape
    row, column = height // 2, width // 2 - (name not in faults.CENTRE)
    at = min((each.output for each in found), key=lambda place: abs(place.row - row) + abs(place.column - column))
    picture = report.picture(at, scale=SIDE)
    picture[:, ::SIDE] = picture[:, :, ::SIDE] = GRAY
    return sentence, functional.pad(picture, (0, 1, 0, 1), value=GRAY)


def file_of(name):
    words = name.replace("!=", "is not").replace(" - ", " minus ").lower().split()
    return FOLDER / f"{'-'.join(words)}.png"


if __name__ == "__main__":
    from PIL import Image

    for name in (*LEAKS, *BLIND):
        sentence, picture = explain(name)
        Image.fromarray(picture.permute(1, 2, 0).numpy()).save(file_of(name))
        print(f"{file_of(name).name}: {sentence}")
