"""Tests the kernel of csrc/cuda/scan/pack.cuh, which reorders weights as csrc/cuda/scan/tiling.h defines."""

import ctypes

import pytest
import torch

from helpers.emulated import library
from helpers.scans import DTYPES
from kernel_costs.kernel_list import FORMATS

pytestmark = pytest.mark.emulated


def rounded_to_tf32(x):
    return ((x.view(torch.int32) + 0x1000) & ~0x1FFF).view(torch.float32)


@pytest.mark.parametrize("arch", ["sm_80", "sm_90"])
@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("gates", [4, 5])
@pytest.mark.parametrize("format", FORMATS)
def test_every_value_comes_from_where_it_should(core, format, gates, backward, arch):
    emulated = library.load(arch)
    emulated.emulator.set_schedule("burst")
    library_ = emulated.emulator.library
    library_.emulated_pack.restype = ctypes.c_char_p
    padded = set()
    for blocks, taps, units in (
        (b, t, u) for b in (1, 2, 4, 8) for t in (1, 2, 3) for u in (8, 16, 24, 32, 40) if b * u <= 128
    ):
        hidden = blocks * units
        tiling = core.Tiling(core.Format[format], backward, hidden, taps, blocks, gates=gates)
        source = torch.tensor(tiling.weight_sources())
        directions = 2 if gates == 4 else 4
        weight = torch.randn(directions, taps * hidden * gates * hidden).to(DTYPES[format])
        packed = torch.empty(directions, len(source), dtype=weight.dtype)
        pointers = map(ctypes.c_void_p, (tiling.address, weight.data_ptr(), packed.data_ptr()))
        assert library_.emulated_pack(*pointers, directions).decode() == ""
        expected = torch.where(source >= 0, weight[:, source.clamp(min=0)], 0)
        assert torch.equal(packed, rounded_to_tf32(expected) if format == "tf32" else expected), (blocks, taps, units)
        padded.add(bool((source < 0).any()))
    # Forward kernels on tensor cores pad the five gates of a unit to six.
    always = gates == 5 and not backward and format != "fp32"
    assert padded == ({True} if always else {False, True})
