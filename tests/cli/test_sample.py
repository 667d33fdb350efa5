"""``pixelrnn sample``: grids of samples."""

import numpy
from PIL import Image

from .command_line import pixelrnn


def test_sample_writes_a_grid(trained, tmp_path, capsys):
    out, _ = trained
    grids = []
    for name, more in {"all": [], "again": [], "other": ["--seed", "1"], "threes": ["--label", "3"]}.items():
        picture = tmp_path / f"{name}.png"
        pixelrnn("sample", out, "--out", picture, "--count", "6", "--batch-size", "4", *more)
        grids.append(numpy.array(Image.open(picture)))
    assert capsys.readouterr().out.splitlines()[0] == f"6 samples: {tmp_path / 'all.png'}"
    assert grids[0].shape == (2 * 66 + 2, 3 * 66 + 2, 3)  # 8x8 magnified 8 times, a margin of 2
    assert (grids[0] == grids[1]).all() and (grids[0] != grids[2]).any() and (grids[0] != grids[3]).any()
    pixelrnn("sample", out, "--out", tmp_path / "size.png", "--count", "1", "--size", "5x16")
    assert numpy.array(Image.open(tmp_path / "size.png")).shape == (5 * 4, 16 * 4, 3)
