"""The packing of the weights, by the kernels that nvcc makes of csrc/cuda/pack.cuh on the emulator: every value comes
from where weight_source() of csrc/cuda/tiling.h, the definition that the recurrence's kernels read by, says that it
does."""

import ctypes

import pytest
import torch

from emulated import library
from emulated.kernels import FORMATS
from scans import DTYPES

pytestmark = pytest.mark.emulated


class Tiling(ctypes.Structure):
    _fields_ = [
        ("format", ctypes.c_int), ("backward", ctypes.c_bool),
        *((name, ctypes.c_int) for name in ("hidden", "taps", "blocks", "units", "groups", "tiles")),
    ]  # fmt: skip


def rounded_to_tf32(x):
    return ((x.view(torch.int32) + 0x1000) & ~0x1FFF).view(torch.float32)


@pytest.mark.parametrize("arch", ["sm_80", "sm_90"])
@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("format", FORMATS)
def test_every_value_comes_from_where_it_should(format, backward, arch):
    emulated = library.load(arch)
    emulated.emulator.schedule("burst")
    library_ = emulated.emulator.library
    library_.emulated_pack.restype = ctypes.c_char_p
    padded = set()
    for blocks, taps, units in (
        (b, t, u) for b in (1, 2, 4, 8) for t in (1, 2, 3) for u in (8, 16, 24, 40) if b * u <= 128
    ):
        hidden = blocks * units
        tiling = Tiling(FORMATS.index(format), backward, hidden, taps, blocks, units, 1, 1)
        values = library_.emulated_pack_values(ctypes.byref(tiling))
        weight = torch.randn(2, taps * hidden * 4 * hidden).to(DTYPES[format])
        packed, source = torch.empty(2, values, dtype=weight.dtype), torch.empty(values, dtype=torch.int32)
        pointers = (ctypes.c_void_p(t.data_ptr()) for t in (weight, packed, source))
        assert library_.emulated_pack(ctypes.byref(tiling), 2, *pointers).decode() == ""
        of_weights = source >= 0
        expected = torch.where(of_weights, weight[:, source.clamp(min=0)], 0)
        assert torch.equal(packed, rounded_to_tf32(expected) if format == "tf32" else expected), (blocks, taps, units)
        assert torch.equal(source[of_weights].sort().values, torch.arange(weight.shape[1], dtype=torch.int32)), (
            "not every weight, once"
        )
        padded.add(bool((source < 0).any()))
    assert padded == {False, True}
