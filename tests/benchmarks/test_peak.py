import os
import shutil

import pytest
import torch

from harness import command, peak
from harness.command import BUDGETS
from harness.cxx import compiler
from harness.options import CHECK
from pixelrnn_ext.benchmark.products import Products
from pixelrnn_ext.benchmark.run import Benchmark


@pytest.mark.skipif(shutil.which(compiler()[0]) is None, reason="no C++ compiler")
def test_the_peak_is_what_a_core_can_do():
    """No core does more than two float32 multiply-adds of 512 bits in a cycle. A chain that is folded does."""
    cores = len(os.sched_getaffinity(0))
    peaks = peak.measure([1, cores, 1000])
    assert 1e8 < peaks[torch.float32, 1] < 32 * 6.5e9
    assert peaks[torch.float32, 1000] == peaks[torch.float32, cores]
    if (torch.bfloat16, 1) in peaks:
        assert 1e8 < peaks[torch.bfloat16, 1] < 64 * 6.5e9


def test_without_a_compiler_there_is_no_share(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    benchmark = Benchmark(BUDGETS[CHECK])
    command.measure_peaks(benchmark)
    (skipped,) = [line for line in benchmark.remarks() if "share of peak" in line]
    assert "no-such-compiler" in skipped and not benchmark.peaks


def test_multiply_adds():
    """A DiagonalBiLSTM with 32 input channels and 16 units has two neighbours and four gates in each direction."""
    products = Products(28 * 28, 2 * 16 + 32, 4 * 16, directions=2)
    forward = 2 * 28 * 28 * 64 * 64
    modes = "forward", "backward", "forward+backward"
    assert [products.multiply_adds(mode) / forward for mode in modes] == [1, 2, 3]
