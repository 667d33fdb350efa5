"""Tests the scans and masked convolutions in bfloat16 on a CPU, and what they round.

The kernels multiply bfloat16 numbers and add the products in float32. They round h, y and all gradients to bfloat16,
and the activated gates that they keep for the backward pass to float16. The cell state c and its gradient are float32.
"""

from pathlib import Path

import pytest
import torch

from helpers.checks import assert_close, native, using_instruction_set
from helpers.scans import DECOMPOSITION, OPS, Problem, make_layer, ragged_sizes
from pixelrnn_ext import reference
from pixelrnn_ext.cells import CELLS, _new_c
from pixelrnn_ext.functional import masked_conv2d
from pixelrnn_ext.operators import library

pytestmark = native
BF16 = torch.bfloat16
LEVELS = [name for name in library.instruction_sets() if name == "baseline" or name.endswith("_bf16")]
each_level = pytest.mark.parametrize("level", LEVELS)


def flips(t, dtype=BF16, again=None):
    """Returns a bound for the RMS error of a tensor that is rounded to ``dtype``, in units of its RMS value.

    A sum in float32 has a relative error of about 2^-20, so about one result of 2^11 is rounded to another neighbour in
    bfloat16 than the exact sum. The neighbours differ by at most 2^-7. About four results follow from a state or a
    gradient that was rounded so, and a small tensor may have four of them. A rounding that is left out or added makes
    an RMS error of about 2e-3, which the bound notices in a tensor of more than a few numbers. A state changes the
    gates and c by less than a quarter of its own error.

    In a larger map, a state that was rounded so lets states after it be rounded so, too. ``again`` is the tensor by
    other sums in float32 with the same roundings. The kernels' error may be three times as large as its error.
    """
    few = 2**-8 * (2**-9 + 4 / max(1, t.numel())) ** 0.5 / (1 if dtype == BF16 else 4)
    if again is None:
        return few
    error, scale = ((a.double()).square().mean().sqrt() for a in (rounded(again, dtype) - rounded(t, dtype), t))
    return max(few, 3 * float(error / scale))


def rounded(t, dtype=BF16):
    return t.to(dtype).to(t.dtype)


class RoundedMap(torch.autograd.Function):
    """Rounds a map, and lets its gradient pass."""

    forward = staticmethod(lambda ctx, t: rounded(t))
    backward = staticmethod(lambda ctx, grad: grad)


class RoundedGradient(torch.autograd.Function):
    """Lets a map pass, and rounds its gradient."""

    forward = staticmethod(lambda ctx, t: t.clone())
    backward = staticmethod(lambda ctx, grad: rounded(grad))


def with_value(t, value):
    """Returns ``value`` with the derivatives of ``t``."""
    return t + (value - t).detach()


def rounding_update(cell, z, c_up, c_left, top=None, peephole=None):
    """Computes what ``pixelrnn_ext.cells.update`` computes, with the roundings of the kernels."""
    z = RoundedGradient.apply(z)
    exact, kept = [], []
    for k, gate in enumerate(z.chunk(len(CELLS[cell].gates), dim=-1)):
        activation, inverse = (torch.tanh, torch.atanh) if k == 2 else (torch.sigmoid, torch.logit)
        exact.append(activation(gate))
        kept.append(activation(with_value(gate, inverse(rounded(exact[-1], torch.float16)))))
    c = with_value(_new_c(cell, kept, c_up, c_left), _new_c(cell, exact, c_up, c_left))
    h = with_value(kept[3] * c.tanh(), exact[3] * c.tanh())
    return RoundedMap.apply(h), c, tuple(exact)


@each_level
@pytest.mark.parametrize("ragged", [False, True], ids=["full", "ragged"])
@pytest.mark.parametrize("hidden", [5, 16, 33])
@pytest.mark.parametrize("layer", ["row1", "row3", "bilstm", "stable"])
def test_roundings(layer, hidden, ragged, level, monkeypatch):
    check_roundings(layer, hidden, (3, 4, 5), ragged, level, monkeypatch)


@each_level
def test_roundings_of_a_row_that_is_longer_than_a_tile_of_the_weight_gradient(level, monkeypatch):
    check_roundings("row1", 17, (1, 2, 531), False, level, monkeypatch)


@each_level
@pytest.mark.parametrize(
    ("layer", "hidden", "maps"),
    [
        ("row1", 1, (2, 3, 37)),
        ("row3", 100, (1, 2, 200)),
        ("row3", 17, (3, 20, 33)),
        ("bilstm", 3, (7, 1, 1)),
        ("bilstm", 100, (2, 20, 33)),
        ("stable", 17, (2, 3, 40)),
        ("stable", 70, (1, 3, 2)),
    ],
    ids=lambda value: "x".join(map(str, value)) if isinstance(value, tuple) else str(value),
)
def test_roundings_of_odd_sizes(layer, hidden, maps, level, monkeypatch):
    check_roundings(layer, hidden, maps, False, level, monkeypatch, large=True)


def check_roundings(layer, hidden, maps, ragged, level, monkeypatch, large=False):
    options = dict(corners=(0, 1, 2, 3), merge="sum") if layer == "stable" else {}
    p = Problem("bf16", layer, hidden, maps, x=True, sizes=ragged_sizes(*maps) if ragged else None, **options)
    with using_instruction_set(level):
        got, again = p.run(OPS), p.run(OPS)
    monkeypatch.setattr(reference, "update", rounding_update)
    expected = p.run(DECOMPOSITION, torch.float64)
    by_float = p.run(DECOMPOSITION, torch.float32) if large else {}
    dtypes = {"c": torch.float32, "gates": torch.float16}
    for name, t in expected.items():
        dtype = dtypes.get(name, BF16)
        assert got[name].dtype == dtype and torch.equal(got[name], again[name])
        # The terms of a weight's gradient partly cancel, so its relative error is larger.
        bound = flips(t, dtype, by_float.get(name)) * (2 if name.startswith("dweight") else 1)
        assert_close(name, rounded(t, dtype), got[name], bound)


@each_level
@pytest.mark.parametrize("channels_last", [False, True], ids=["nchw", "channels_last"])
@pytest.mark.parametrize(
    ("channels", "outputs", "kernel", "mask", "colours", "relu"),
    [(3, 17, 7, "A", 1, False), (9, 24, 5, "A", 3, True), (16, 40, 3, "B", 1, True), (1, 1, 5, "B", 1, False)],
)
def test_a_masked_convolution_rounds_only_results(channels, outputs, kernel, mask, colours, relu, channels_last, level):
    draw = [(2, channels, 9, 11), (outputs, channels, kernel, kernel), (outputs,), (2, outputs, 9, 11)]
    x, weight, bias, dy = (torch.randn(size).to(BF16) for size in draw)
    leaves = [t.double().requires_grad_() for t in (x, weight, bias)]
    options = dict(image_channels=colours, activation="relu" if relu else None)
    y = masked_conv2d(*leaves, mask, **options, backend="reference")
    with using_instruction_set(level):
        got = run_operators(x, weight, bias, dy, (mask == "A", colours, 1), relu, channels_last)
    # The gradient of the ReLU is that of the rounded result.
    expected = y, *torch.autograd.grad(y, leaves, dy.double() * (got[0] > 0) if relu else dy.double())
    for name, a, b in zip(("y", "dinput", "dweight", "dbias"), expected, got, strict=True):
        assert_close(name, rounded(a), b, flips(a))


def run_operators(x, weight, bias, dy, masking, relu, channels_last):
    """Calls the C++ operators. They take bfloat16 on every processor, while a layer may call them in float32."""

    def moved(t, *axes):
        return t.permute(axes).contiguous() if channels_last else t

    x, dy = (moved(t, 0, 2, 3, 1) for t in (x, dy))
    y = OPS.masked_conv(x, weight, bias, *masking, relu, channels_last)
    dinput, *others = OPS.masked_conv_backward(
        dy, y if relu else None, x, weight, *masking, channels_last, True, True, True
    )
    return moved(y, 0, 3, 1, 2), moved(dinput, 0, 3, 1, 2), *others


@pytest.mark.parametrize("name", ["row3", "bilstm", "stable", "masked"])
def test_a_processor_without_the_instruction_computes_in_float32(name):
    layer = make_layer(name, 4, 8, dtype=BF16)
    x = torch.randn(2, 4, 6, 5).to(BF16)
    with using_instruction_set("baseline"):
        y = layer(x)
    assert torch.equal(y, layer.float()(x.float()).to(BF16)) and y.dtype == BF16


@pytest.mark.skipif("avx512" not in library.instruction_sets(), reason="no AVX-512")
def test_an_operator_in_bfloat16_computes_in_float32_without_the_instruction():
    """A graph that was exported on another processor calls the operators in bfloat16."""
    p = Problem("bf16", "graves-peepholes", 6, (2, 4, 5), corners=(0, 3), merge="sum")
    with using_instruction_set("avx512"):
        got, wide = p.run(OPS), p.run(OPS, torch.float32)
    for name, t in wide.items():
        assert torch.equal(got[name], t.to(got[name].dtype)) or name.startswith("d")
        assert_close(name, t, got[name], 2**-8)


def test_the_default_instruction_set_is_the_fastest_in_bfloat16():
    """Intel's AVX512-BF16 multiplies half as many numbers in a cycle as float32's instructions, AMD's twice as many."""
    available = library.instruction_sets()
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists() or "avx512_bf16" not in available:
        pytest.skip("expected a processor with AVX512-BF16, and Linux")
    by_amd = "AuthenticAMD" in cpuinfo.read_text()
    expected = "amx_bf16" if "amx_bf16" in available else "avx512_bf16" if by_amd else "avx512"
    assert library._default == expected


@each_level
def test_nan_and_infinity_stay_in_their_pixels(level):
    """The last of an odd number of channels is half of a pair, whose other half belongs to the next pixel."""
    p = Problem("bf16", "row1", 7, (1, 2, 5), x=False)
    p.inputs["input"][0, 0, 3, 0] = float("nan")
    p.inputs["input"][0, 0, 1, 2] = float("inf")
    with using_instruction_set(level):
        y = OPS.scan(*p.scan())[1].squeeze(3)
    reached = torch.zeros(2, 5, dtype=torch.bool)
    reached[:, 2:5] = True  # the convolution of the input reads one pixel to the left and one to the right
    assert torch.equal(y.isnan().any(-1)[0], reached)


def test_conversions(core):
    """Checks the conversions of each exponent and of numbers near ties, against PyTorch."""
    upper = torch.arange(1 << 16, dtype=torch.int64)[:, None] << 16
    lower = torch.tensor([0, 1, 0x0FFF, 0x1000, 0x1001, 0x3000, 0x7FFF, 0x8000, 0x8001, 0xFFFF])
    bits = (upper + lower).flatten()
    x = torch.where(bits >= 1 << 31, bits - (1 << 32), bits).to(torch.int32).view(torch.float32)
    flushed = torch.where(x.abs() < torch.finfo(torch.float32).tiny, torch.copysign(torch.zeros(()), x), x)
    for convert, values, dtype in ((core.bf16, flushed, BF16), (core.half, x, torch.float16)):
        got, expected = torch.tensor(convert(x.tolist())), values.to(dtype).float()
        same = got.view(torch.int32) == expected.view(torch.int32)
        assert (same | (got.isnan() & expected.isnan())).all()
