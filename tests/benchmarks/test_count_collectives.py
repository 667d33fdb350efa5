"""The exchanges of a training, and the arithmetic that predicts them."""

from collections import Counter

import pytest

import count_collectives
import pixelrnn_ext as px
from helpers import child
from helpers.root import ROOT


def test_a_bucket_is_closed_by_the_gradient_that_fills_it(monkeypatch):
    model = px.from_name("mnist-diagonal", num_layers=1)
    size = 4 * sum(p.numel() for p in model.parameters())
    assert count_collectives.gradient_buckets(model) == [size]
    monkeypatch.setattr(count_collectives, "FIRST_BUCKET", 1)
    monkeypatch.setattr(count_collectives, "BUCKET", 2000)
    first, *others, last = count_collectives.gradient_buckets(px.from_name("mnist-diagonal", num_layers=1))
    assert first + sum(others) + last == size
    assert first == 4 * 32 and len(others) > 1 and all(bucket >= 2000 for bucket in others)


@pytest.mark.sweep
def test_two_processes_exchange_what_the_arithmetic_says():
    arguments = "--models", "mnist-diagonal", "--processes", "2", "--steps", "2"
    done = child.python(ROOT / "benchmarks" / "count_collectives.py", *arguments, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [[cell.strip() for cell in line.split("|")[2:-1]] for line in done.stdout.splitlines() if "mnist" in line]
    assert len(rows) == 5 and rows[0] == ["2", "all_reduce", "264,964", "2", "2"]
    assert done.stdout.endswith("Each process did 2 steps. All calls and bytes are as the arithmetic says.\n")


def test_a_call_that_the_arithmetic_lacks_is_named(monkeypatch, capsys):
    arithmetic = count_collectives.arithmetic
    another = Counter({("all_reduce", 12): 1})
    monkeypatch.setattr(count_collectives, "count", lambda *arguments: arithmetic(*arguments) + another)
    assert count_collectives.main(["--models", "mnist-diagonal", "--processes", "2"]) == 1
    expected = "mnist-diagonal, 2 processes: expected 0 calls of all_reduce with 12 bytes, got 1."
    assert capsys.readouterr().out.splitlines()[-1] == expected
