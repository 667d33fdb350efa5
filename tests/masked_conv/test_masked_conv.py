import itertools
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.library import opcheck

import pixelrnn_ext as px
from helpers.checks import assert_close, cotangent_of, opcheck_untraced, randn64
from helpers.scans import OPS
from pixelrnn_ext.functional import masked_conv2d
from pixelrnn_ext.masks import causal_mask
from pixelrnn_ext.operators import library

CL = torch.channels_last
KERNELS = [1, 3, 5, 7, (1, 3), (3, 1), (5, 3)]
# (N, in channels, out channels per gate, H, W, colours). The last size has more channels than a vector register holds.
SIZES = [
    (2, 4, 5, 5, 6, 1),
    (1, 7, 5, 9, 4, 3),
    (3, 3, 4, 1, 5, 3),
    (2, 2, 3, 7, 1, 1),
    (1, 1, 1, 1, 1, 1),
    (0, 3, 5, 4, 6, 3),
    (2, 37, 18, 23, 19, 3),
]
each_size = pytest.mark.parametrize(
    "size", SIZES, ids="B{0[0]}-in{0[1]}-units{0[2]}-{0[3]}x{0[4]}-colours{0[5]}".format
)
each_mask = pytest.mark.parametrize("mask_type", ["A", "B"])
each_kernel = pytest.mark.parametrize("kernel", KERNELS, ids=str)
each_layout = pytest.mark.parametrize("layout", [torch.contiguous_format, CL], ids=["nchw", "channels_last"])


def leaves(size, kernel, gates=1, dtype=torch.float64, bias=True, layout=CL):
    n, channels, units, height, width, _ = size
    kernel = (kernel, kernel) if isinstance(kernel, int) else kernel
    shapes = [(n, channels, height, width), (gates * units, channels, *kernel)] + [(gates * units,)] * bias
    x, *parameters = (randn64(s).to(dtype) for s in shapes)
    x = x.to(memory_format=layout)
    return [t.requires_grad_() for t in (x, *parameters)]


def run(function, tensors, **options):
    y = function(*tensors, **options)
    return [y.detach(), *torch.autograd.grad(y, tensors, cotangent_of(y))]


def compare(expected, got, ratio):
    for name, a, b in zip(("output", "input", "weight", "bias"), expected, got, strict=True):
        assert_close(name, a, b, ratio)


@pytest.mark.covering(2)
@each_mask
@each_kernel
@each_size
@each_layout
def test_against_the_reference(mask_type, kernel, size, layout):
    for gates, activation in [(1, None), (4, "relu")]:
        tensors = leaves(size, kernel, gates, layout=layout)
        options = dict(mask_type=mask_type, image_channels=size[5], gates=gates, activation=activation)
        expected = run(px.reference.masked_conv2d, tensors, **options)
        compare(expected, run(masked_conv2d, tensors, **options, backend="native"), 1e-14)


@pytest.mark.covering(2)
@pytest.mark.parametrize("n", [1, 3])
@each_layout
def test_instruction_sets_and_threads(layout, n, instruction_set, threads):
    tensors = leaves((n, 19, 35, 13, 17, 3), 5, dtype=torch.float32, layout=layout)
    options = dict(mask_type="B", image_channels=3, activation="relu")
    exact = run(px.reference.masked_conv2d, [t.detach().double().requires_grad_() for t in tensors], **options)
    got, again = (run(masked_conv2d, tensors, **options) for _ in range(2))
    compare(exact, got, 1e-6)
    assert all(map(torch.equal, got, again))


def test_without_the_compiled_kernels(monkeypatch):
    monkeypatch.setattr(library, "_why_no_native", "no compiler")
    x, w, b = leaves((2, 4, 5, 5, 6, 1), 3)
    assert torch.equal(masked_conv2d(x, w, b), px.reference.masked_conv2d(x, w, b))
    with pytest.raises(RuntimeError, match="backend='native' cannot run: no compiler"):
        masked_conv2d(x, w, b, backend="native")


@pytest.mark.parametrize("channels", [1, 4, 64])
@pytest.mark.parametrize("kernel", [1, 3, 7])
@pytest.mark.parametrize("layout", ["nchw", "channels_last", "slice", "transposed", "expanded"])
@each_mask
def test_layouts(mask_type, layout, kernel, channels):
    base = torch.randn(2, channels, 6, 7)
    x = {
        "nchw": base,
        "channels_last": base.contiguous(memory_format=CL),
        "slice": torch.randn(2, channels, 8, 9).contiguous(memory_format=CL)[:, :, 1:7, 1:8],
        "transposed": torch.randn(2, channels, 7, 6).transpose(2, 3),
        "expanded": torch.randn(1, channels, 6, 1).expand(2, -1, -1, 7),
    }[layout]
    w, b = torch.randn(8, channels, kernel, kernel, requires_grad=True), torch.randn(8, requires_grad=True)
    strided = x.detach().requires_grad_()
    y, dx, *_ = got = run(masked_conv2d, [strided, w, b], mask_type=mask_type)
    exact = [t.detach().double().requires_grad_() for t in (x, w, b)]
    compare(run(px.reference.masked_conv2d, exact, mask_type=mask_type), got, 2e-6)
    expected = CL if layout in ("channels_last", "slice") and channels > 1 else torch.contiguous_format
    assert y.is_contiguous(memory_format=expected) and dx.is_contiguous(memory_format=expected)


@pytest.mark.parametrize("activation", [None, "relu"])
def test_gradcheck_and_gradgradcheck(activation):
    tensors = leaves((1, 3, 3, 2, 3, 3), 3, gates=2)
    options = dict(mask_type="B", image_channels=3, gates=2, activation=activation)
    function = partial(masked_conv2d, **options)
    assert torch.autograd.gradcheck(function, tensors)
    assert torch.autograd.gradgradcheck(function, tensors, fast_mode=True)


@pytest.mark.parametrize("needed", [(0,), (1,), (2,), (0, 1), (1, 2)], ids=str)
@pytest.mark.parametrize("kernel", [1, 3])
def test_only_what_is_needed_is_computed(needed, kernel):
    tensors = leaves((2, 4, 5, 5, 6, 1), kernel)
    expected = run(px.reference.masked_conv2d, tensors)
    for i, t in enumerate(tensors):
        t.requires_grad_(i in needed)
    masked_conv2d(*tensors).backward(cotangent_of(expected[0]))
    for i, t in enumerate(tensors):
        assert (t.grad is None) == (i not in needed)
        if i in needed:
            assert_close(str(i), expected[1 + i], t.grad, 1e-14)


@each_mask
@each_kernel
@pytest.mark.parametrize("dead", [float("nan"), float("inf")])
def test_masked_weights_have_no_effect_and_no_gradient(mask_type, kernel, dead):
    x, w, b = leaves((2, 4, 5, 5, 6, 3), kernel)
    alive = causal_mask(mask_type, *w.shape[:2], w.shape[2:], image_channels=3) > 0
    poisoned = torch.where(alive, w.detach(), dead).requires_grad_()
    options = dict(mask_type=mask_type, image_channels=3)
    clean, got = (run(masked_conv2d, [x, weight, b], **options) for weight in (w, poisoned))
    assert all(map(torch.equal, clean, got))
    assert not got[2][~alive].any() and got[2][alive].all()
    (dx,) = torch.autograd.grad(masked_conv2d(x, poisoned, b, **options), x, x.new_ones(2, 5, 5, 6), create_graph=True)
    if alive.any():
        assert torch.autograd.grad(dx.square().sum(), poisoned)[0].isfinite().all()


@pytest.mark.parametrize("check", [opcheck_untraced, pytest.param(opcheck, marks=pytest.mark.sweep)])
@pytest.mark.parametrize("relu", [False, True], ids=["linear", "relu"])
@each_layout
def test_opcheck(check, relu, layout):
    x, w, b = (t.detach() for t in leaves((2, 4, 3, 4, 5, 3), 3, gates=4))
    x = x.contiguous(memory_format=layout)
    for bias in (b.requires_grad_(), None):
        check(OPS.masked_conv2d.default, (x.requires_grad_(), w.requires_grad_(), bias, "A", 3, 4, relu))
    y = OPS.masked_conv2d(x, w, b, "A", 3, 4, relu).detach()
    grad = torch.randn_like(y).requires_grad_()
    for needs in itertools.product((False, True), repeat=3):
        check(OPS.masked_conv2d_backward.default, (grad, y if relu else None, x, w, "A", 3, 4, relu, *needs))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kernel", [3, (1, 5)], ids=str)
def test_checkpoints_go_both_ways_with_conv2d(kernel, bias):
    kh, kw = (kernel, kernel) if isinstance(kernel, int) else kernel
    torch.manual_seed(3)
    options = dict(bias=bias, dtype=torch.float64)
    plain = nn.Conv2d(4, 6, kernel, padding=(kh // 2, kw // 2), **options)
    torch.manual_seed(3)
    masked = px.MaskedConv2d(4, 6, kernel, "B", **options)
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), masked.parameters(), strict=True))
    other = px.MaskedConv2d(4, 6, kernel, "B", **options)
    other.load_state_dict(plain.state_dict())
    x = randn64(2, 4, 5, 6)
    expected = F.conv2d(x, plain.weight * causal_mask("B", 6, 4, kernel), plain.bias, padding=(kh // 2, kw // 2))
    assert_close("output", expected, other(x), 1e-14)
    plain.load_state_dict(masked.state_dict())
    assert torch.equal(plain.weight, masked.weight)


def test_the_kernels_run_on_no_meta_tensor():
    with pytest.raises(RuntimeError, match="the native kernels run on CPU and CUDA tensors, got tensors on meta"):
        masked_conv2d(*(t.to("meta") for t in leaves(SIZES[0], 3)), backend="native")


@pytest.mark.parametrize("name", ["masked_conv2d", "masked_conv2d_backward"])
def test_tensors_of_two_devices_are_refused(name):
    """redispatch() skips torch's dispatcher, so the operators have to check the devices."""
    x, weight, y = torch.randn(1, 2, 3, 4), torch.randn(5, 2, 3, 3), torch.randn(1, 5, 3, 4)
    forward = x, weight, torch.randn(5), "B", 1, 1, True
    args = forward if name == "masked_conv2d" else (y, y, x, weight, "B", 1, 1, True, True, True, True)
    operator = getattr(OPS, name).default
    names = [argument.name for argument in operator._schema.arguments]
    first, *tensors = (i for i, a in enumerate(args) if isinstance(a, torch.Tensor))
    for i in tensors:
        moved = [a.to("meta") if j == i else a for j, a in enumerate(args)]
        with pytest.raises(ValueError, match=f"one device, got {names[first]} on cpu and {names[i]} on meta"):
            operator.redispatch(torch._C.DispatchKeySet(torch._C.DispatchKey.CPU), *moved)
