"""At what clock the GPU ran (benchmarks/gpu_day/clock.py)."""

import os
import time

import pytest
import torch

from gpu_day import clock
from gpu_day.clock import Sampler
from gpu_day.scan_tables import clocks_table
from harness import gpu_timing

from .made_up_day import cells


def nvidia_smi(folder, monkeypatch, script):
    (folder / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def sampled():
    with Sampler() as sampler:
        time.sleep(0.5)
    return sampler.found()


def test_clocks_are_sampled(tmp_path, monkeypatch):
    rows = "echo 1980, 1980, 110.5, 40, 0x0000000000000000; echo 1755, 1980, 700.0, 60, 0x0000000000000004"
    nvidia_smi(tmp_path, monkeypatch, f"{rows}; echo 1600, 1980, [N/A], 61, 0x0000000000000001; exec sleep 60")
    found = sampled()
    assert found == {
        "samples": 3,
        "SM clock, MHz": [1600, 1755, 1980],
        "highest, MHz": [1980, 1980, 1980],
        "power, W": [110.5, 405.25, 700.0],
        "temperature, C": [40, 60, 61],
        "reasons": ["0x0000000000000004"],
    }
    (row,) = cells(clocks_table({"layouts": found}))
    assert row[:3] == ["layouts", "1600 / 1755 / 1980", "1980 / 1980 / 1980"]
    assert row[3:] == ["110.5 / 405.25 / 700", "40 / 60 / 61", "0x0000000000000004"]


def test_without_clocks_there_is_a_reason(tmp_path, monkeypatch):
    nvidia_smi(tmp_path, monkeypatch, "echo No devices were found; exit 6")
    assert sampled() == {"samples": 0, "note": "nvidia-smi: No devices were found"}
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert sampled() == {"samples": 0, "note": "nvidia-smi: it does not start: No such file or directory"}


def test_the_sm_clock_by_two_pauses(monkeypatch):
    slept = []

    class Event:
        def record(self):
            pass

        synchronize = record

        def elapsed_time(self, end):
            return (slept[-1] / 1500 + 7) / 1e3  # at 1500 MHz, and 7 us for the launch

    monkeypatch.setattr(gpu_timing, "events", lambda: (Event(), Event()))
    monkeypatch.setattr(torch.cuda, "_sleep", slept.append)
    assert clock.sm_megahertz() == pytest.approx(1500)
    monkeypatch.setattr(Event, "elapsed_time", lambda self, end: 0.0)
    assert clock.sm_megahertz() is None
