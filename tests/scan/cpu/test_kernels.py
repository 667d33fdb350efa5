import copy
import importlib.util
import os

import pytest
import torch

from helpers import child
from helpers.checks import RATIO, assert_all_close, assert_close, randn64, subsets
from helpers.scans import BACKENDS, KINDS, OPS, each_layer, gate_bias_channels, make_layer, results
from pixelrnn_ext.operators import library

# (N, in channels, hidden, H, W, image channels). A row of 140 pixels is longer than kRunCells of convolve_rows.h.
SIZES = [
    (2, 3, 5, 4, 6, 1),
    (1, 6, 7, 9, 4, 3),
    (3, 8, 16, 1, 5, 1),
    (2, 4, 8, 7, 1, 2),
    (9, 1, 1, 1, 1, 1),  # gradients are sums over nine images, whose terms do not cancel
    (5, 5, 33, 12, 13, 3),
    (2, 4, 64, 3, 140, 1),
    (0, 3, 5, 4, 6, 1),
]

# (channels, H, W) of an image that keeps three threads busy in a layer with 40 units (Shape::useful_threads).
LARGE = (5, 12, 14)


def compare(layer, x, gate_bias=None, cotangent=None):
    """The reference computes in float64, because torch's float32 results depend on the processor."""
    layer.backend, exact = "native", copy.deepcopy(layer).double()
    exact.backend = "reference"
    maps = dict(x=x, cotangent=cotangent, gate_bias=gate_bias)
    expected = results(exact, **{name: None if m is None else m.double() for name, m in maps.items()})
    assert_all_close(expected, results(layer, **maps), RATIO[x.dtype])


@pytest.mark.covering(2)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@each_layer
@pytest.mark.parametrize("size", SIZES, ids="B{0[0]}-in{0[1]}-h{0[2]}-{0[3]}x{0[4]}-colours{0[5]}".format)
def test_sizes(name, size, dtype):
    n, channels, hidden, height, width, colours = size
    for options in ({}, dict(mask_type=None, bias=False, initial_state="zero")):
        layer = make_layer(name, channels, hidden, image_channels=colours, dtype=dtype, **options)
        x = torch.randn(n, channels, height, width, dtype=dtype)
        compare(layer, x)
        gate_bias = torch.randn(n, gate_bias_channels(layer), height, width, dtype=dtype)
        compare(layer, x, gate_bias)


@pytest.mark.covering(2)
@pytest.mark.parametrize("n", [1, 4])
@pytest.mark.parametrize("name", ["row1", *KINDS])
def test_instruction_sets_and_threads(name, n, instruction_set, threads):
    layer = make_layer(name, 5, 40, dtype=torch.float32)
    compare(layer, torch.randn(n, *LARGE))


LAYOUTS = {
    "channels_last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "strided": lambda x: torch.stack([x, x + 1], -1)[..., 0],
    "expanded": lambda x: x[:1].expand(x.shape),
    "transposed": lambda x: x.mT.contiguous().mT,
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("name", ["row3", "bilstm"])
def test_strides(name, layout):
    layer = make_layer(name, 6, 7)
    x, gate_bias, cotangent = (layout(randn64(3, channels, 5, 4)) for channels in (6, gate_bias_channels(layer), 7))
    compare(layer, x, gate_bias, cotangent)
    assert layer(x, gate_bias).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.covering(2)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize(("channels", "hidden", "side"), [(3, 1, 3), (17, 5, 9), (40, 33, 26)])
@pytest.mark.parametrize("name", ["diagonal", "bilstm"])
def test_maps_stored_channels_first_give_the_same_bits(name, channels, hidden, side, dtype, instruction_set, threads):
    """The kernels copy such maps. The largest maps here are copied by several threads."""
    torch.manual_seed(0)
    layer = make_layer(name, channels, hidden, dtype=dtype)
    x, dy = (torch.randn(5, n + 1, side, side + 3, dtype=dtype)[1:, 1:] for n in (channels, hidden))
    nhwc_x, nhwc_dy = (m.contiguous(memory_format=torch.channels_last) for m in (x, dy))
    expected = results(layer, nhwc_x, cotangent=nhwc_dy)
    for nchw_x, nchw_dy in ((x, dy), (x.contiguous(), dy.contiguous())):
        got = results(layer, nchw_x, cotangent=nchw_dy)
        assert all(map(torch.equal, expected.values(), got.values()))


OPTIONAL = ("bias", "h0", "c0", "gate_bias")


@pytest.mark.parametrize("present", [(), *subsets(OPTIONAL)], ids=lambda present: "+".join(present) or "none")
@pytest.mark.parametrize("name", ["row3", "diagonal", "bilstm"])
def test_any_subset_of_the_optional_tensors(name, present):
    """In a Diagonal BiLSTM, one direction has a parameter that the other direction lacks."""
    layer = make_layer(name, 3, 4)
    for key in OPTIONAL[:3]:
        absent = f"{key}_reverse" if key in present else key
        if hasattr(layer, absent):
            setattr(layer, absent, None)
    maps = [randn64(2, n, 3, 5) for n in (3, gate_bias_channels(layer))]
    compare(layer, maps[0], maps[1] if "gate_bias" in present else None)


@pytest.mark.covering(2)
@pytest.mark.parametrize("n", [1, 3])
@each_layer
def test_bit_identical_from_run_to_run_and_with_retain_graph(name, n, threads):
    layer = make_layer(name, 5, 40, dtype=torch.float32)
    x = torch.randn(n, *LARGE, requires_grad=True)
    y = layer(x)
    leaves = [x, *layer.parameters()]
    cotangent = torch.randn_like(y)
    first = torch.autograd.grad(y, leaves, cotangent, retain_graph=True)
    second = torch.autograd.grad(y, leaves, cotangent)
    again = layer(x)
    third = torch.autograd.grad(again, leaves, cotangent)
    assert torch.equal(y, again)
    assert all(map(torch.equal, first, second)) and all(map(torch.equal, first, third))


@pytest.mark.parametrize("threads", [2], indirect=True)
def test_without_openmp_no_thread_waits(monkeypatch, threads):
    """Without OpenMP, torch may run a scan's threads one after the other, so no thread may wait for another."""
    before = library._threads_run_at_once()
    monkeypatch.setattr(torch.__config__, "parallel_info", lambda: "ATen parallel backend: native thread pool\n")
    spec = importlib.util.find_spec("pixelrnn_ext.operators.library")
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    try:
        for name in ("row3", "bilstm"):
            compare(make_layer(name, 5, 40), randn64(1, *LARGE))
    finally:
        assert OPS.set_threads_at_once(before) is False, "the kernels were not told"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")], ids=["nan", "inf", "-inf"])
@each_layer
def test_non_finite_input_reaches_the_same_cells(name, value):
    layer = make_layer(name, 3, 9, mask_type=None)
    x = randn64(2, 3, 6, 7)
    x[0, 1, 2, 3] = value
    expected, got = [layer(x) for layer.backend in BACKENDS]
    assert torch.equal(expected.isnan(), got.isnan())
    if value != value:
        assert expected.isnan().any() and not expected.isnan().all()
    assert_close("finite cells", expected.nan_to_num(), got.nan_to_num(), RATIO[torch.float64])


BACKWARD_OF_A_COLUMN = """
import resource, torch, pixelrnn_ext
torch.set_num_threads(1)
ops, n, h = torch.ops.pixelrnn_ext, 20000, 64
weight, x, dh = torch.zeros(1, 2, h, 4, h), torch.zeros(1, 1, n, 1, 4 * h), torch.zeros(1, n, 1, 1, h)
scan = None, None, None, x, weight, None, None, None, None, [0], True, 1, "pixelrnn", "none"
_, hs, c, gates = ops.scan(*scan)
used = next(int(line.split()[1]) << 10 for line in open("/proc/self/status") if line.startswith("VmSize"))
resource.setrlimit(resource.RLIMIT_AS, (used + 3 * gates.numel() * 4,) * 2)
ops.scan_gradients(dh, hs, c, gates, [i == 4 for i in range(8)], False, *scan)  # wants weight_hh's gradient alone
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="reads /proc")
def test_a_backward_holds_the_dx_of_no_more_images_than_there_are(tmp_path):
    """If lines have one cell, the kernel computes many images together. Here there is only one image."""
    run = child.python("-c", BACKWARD_OF_A_COLUMN, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
