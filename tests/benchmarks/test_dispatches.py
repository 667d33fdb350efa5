import dispatches
from helpers.checks import native


@native
def test_dispatches_are_counted(monkeypatch):
    cases = "row, states", "diagonal", "LSTM2d, all of 4, sizes"
    monkeypatch.setattr(dispatches, "CASES", {case: dispatches.CASES[case] for case in cases})
    counts = dispatches.counts()
    # Each pass of the Diagonal LSTM must call one operator, and must not copy a tensor.
    places = [f"{place} {name}" for place in ("cpu", "gpu") for name in ("forward", "backward")]
    assert [counts["diagonal"][place][0] for place in places] == [1] * 4
    lines = dispatches.table(counts).splitlines()
    assert [line.split("  ")[0] for line in lines[2:]] == [*cases]
    assert all(f" {operations} + {views}" in lines[3] for operations, views in counts["diagonal"].values())
