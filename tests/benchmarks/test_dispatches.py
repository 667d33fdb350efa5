"""The script that counts what a layer dispatches, and the counts of a layer that is one operator."""

import json

import pytest

import dispatches
from pixelrnn_ext.operators import library

pytestmark = pytest.mark.skipif(library.why_no_native() is not None, reason=str(library.why_no_native()))


def test_dispatches_are_counted_and_a_rise_is_told(monkeypatch, tmp_path, capsys):
    cases = "row, states", "diagonal", "LSTM2d, all of 4, sizes"
    monkeypatch.setattr(dispatches, "CASES", {case: dispatches.CASES[case] for case in cases})
    file = tmp_path / "counts.json"
    assert dispatches.main(["--json", str(file)]) == dispatches.main(["--against", str(file)]) == 0
    counts = json.loads(file.read_text())
    # The operator alone: no operand is copied.
    assert [
        counts["diagonal"][f"{place} {name}"][0] for place in ("cpu", "gpu") for name in ("forward", "backward")
    ] == [1] * 4
    counts["row, states"]["gpu backward"][1] -= 1
    file.write_text(json.dumps(counts))
    capsys.readouterr()
    assert dispatches.main(["--against", str(file)]) == 1
    assert capsys.readouterr().out.splitlines()[-1].startswith("row, states, gpu backward: expected at most ")
