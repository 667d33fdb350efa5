import re

import pytest
import torch
from torch._subclasses import FakeTensorMode
from torch.library import opcheck

import pixelrnn_ext as px
from helpers.checks import assert_all_close, assert_close, native, opcheck_untraced
from helpers.scans import (
    DECOMPOSITION,
    KINDS,
    LAYER_OPTIONS,
    OPS,
    OUTPUTS,
    SELECTED,
    Problem,
    case_problem,
    each_selected,
    halves,
    scan_cases,
    selected_problem,
)
from pixelrnn_ext.operators.backends import kernel_dtype
from pixelrnn_ext.operators.scan.arguments import OPERANDS, Gradients, Scan, gates_dtype

pytestmark = native
each_dtype = pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=["float64", "bfloat16"])


@pytest.mark.parametrize("hidden", [1, 8, 19])
@scan_cases()
def test_equals_its_decomposition(layer, layout, sources, states, ragged, hidden, instruction_set):
    p = case_problem(layer, layout, sources, states, ragged, hidden)
    want, got = p.run(DECOMPOSITION), p.run(OPS)
    assert want.keys() == got.keys()
    for name, expected in want.items():
        assert_close(name, expected, got[name], 1e-11 if name.startswith("d") else 1e-12)
    for shares in (True, False):
        g = p.gradient_arguments(OPS, shares=shares)
        for name, w, d in zip(OPERANDS, DECOMPOSITION.scan_gradients(*g.flat), OPS.scan_gradients(*g.flat)):
            assert w.shape == d.shape == g.gradient_shape(name) or not g.wants(name), name
            assert_close(name, w, d, 1e-11)


def test_the_schema_and_the_tuples_name_the_same_arguments():
    for operator, fields in (("scan", Scan._fields), ("scan_gradients", (*Gradients._fields[:-1], *Scan._fields))):
        schema = getattr(OPS, operator).default._schema
        assert tuple(argument.name for argument in schema.arguments) == fields
        defaults = {a.name: a.default_value for a in schema.arguments if a.has_default_value()}
        assert defaults == Scan._field_defaults
    assert tuple(r.name for r in OPS.scan.default._schema.returns) == OUTPUTS
    assert tuple(r.name for r in schema.returns) == tuple(f"d{name}" for name in OPERANDS)


def dense(s):
    return s.with_operands({name: t.contiguous() for name, t in s.operands.items()})


def as_parameters_lie(s):
    return s


@pytest.mark.parametrize("lies", [dense, as_parameters_lie])
@pytest.mark.parametrize("wanted", [(True,) * 8, (True, False) * 4], ids=["all", "some"])
@each_dtype
@each_selected
def test_fake_kernels_have_the_real_shapes_strides_and_dtypes(layer, dtype, wanted, lies):
    p = selected_problem(layer)
    g = p.gradient_arguments(OPS, dtype, wanted=wanted, shares=all(wanted))
    s = lies(g.scan)
    for operator, arguments in ((OPS.scan, s), (OPS.scan_gradients, g._replace(scan=s).flat)):
        real = operator(*arguments)
        with FakeTensorMode() as mode:
            fake = operator(*(mode.from_tensor(a) if isinstance(a, torch.Tensor) else a for a in arguments))
        for a, b in zip(real, fake, strict=True):
            assert (a.shape, a.stride(), a.dtype) == (b.shape, b.stride(), b.dtype), operator


@pytest.mark.parametrize("traced", [False, pytest.param(True, marks=pytest.mark.sweep)], ids=["untraced", "traced"])
@each_dtype
@each_selected
def test_opcheck(layer, dtype, traced):
    """c and the gates are undefined outside of an image, so the images fill the map."""
    corners, sizes = SELECTED[layer].get("corners", LAYER_OPTIONS[layer].corners)[:2], [(2, 2)] * 2
    p = selected_problem(layer, (2, 2, 2), corners=corners, sizes=sizes if SELECTED[layer].get("ragged") else None)
    check = opcheck if traced else opcheck_untraced
    check(OPS.scan.default, tuple(p.scan(dtype, requires_grad=True)))
    g = p.gradient_arguments(OPS, dtype)
    leaves = (t.detach().requires_grad_() for t in g[:4])
    check(OPS.scan_gradients.default, Gradients(*leaves, g.wanted, g.shares, p.scan(dtype, requires_grad=True)).flat)


@each_selected
def test_a_gradient_that_is_not_wanted_has_a_last_axis_of_0_and_changes_no_other(layer):
    p = selected_problem(layer)
    g = p.gradient_arguments(OPS)
    all_gradients = OPS.scan_gradients(*g.flat)
    only_one = [[i == k for i in range(8)] for k in range(8)]
    for wanted in (*only_one, *([not want for want in flags] for flags in only_one), [False] * 8):
        arguments = g._replace(wanted=wanted).flat
        got, decomposed = OPS.scan_gradients(*arguments), DECOMPOSITION.scan_gradients(*arguments)
        for name, want, a, b, full in zip(OPERANDS, wanted, got, decomposed, all_gradients):
            exists = want and (name == "x" or name in p.inputs)
            assert a.shape == b.shape == (full.shape if exists else (*full.shape[:-1], 0)), name
            assert not exists or torch.equal(a, full), name


def test_states_are_clipped(instruction_set):
    p = Problem("fp64", "max", 19, (2, 3, 4))
    p.inputs["c0"] *= 250
    want, got = p.run(DECOMPOSITION), p.run(OPS)
    assert want["c"].abs().max() == 100
    assert_all_close(want, got, 1e-11)


@each_selected
def test_bits_do_not_depend_on_how_weights_lie(layer):
    g = selected_problem(layer, sizes=None).gradient_arguments(OPS)
    first, second = ((*OPS.scan(*s), *OPS.scan_gradients(*g._replace(scan=s).flat)) for s in (g.scan, dense(g.scan)))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("images", [1, 5])
@pytest.mark.parametrize("layer", KINDS)
def test_bits_do_not_depend_on_the_threads(layer, images, threads):
    """Only gradients of weights may depend on the number of threads and on the batch size."""
    options = dict(corners=(0, 1, 2, 3), merge="sum") if layer == "stable" else {}
    g = Problem("fp32", layer, 40, (1, 12, 14), x=True, **options).gradient_arguments(OPS)

    def results(count):
        def copies(t, axis):
            return torch.cat([t] * count, axis)

        s = g.scan._replace(input=copies(g.scan.input, 0), x=copies(g.scan.x, 1))
        outputs = OPS.scan(*s)
        dinput, _, _, dx, _, dh0, dc0, _ = OPS.scan_gradients(copies(g.dh, 0), *outputs[1:], g.wanted, True, *s)
        return list(zip((*outputs, dinput, dx, dh0, dc0), (0, 0, 1, 1, 0, 1, 1, 1), strict=True))

    batch = results(images)
    torch.set_num_threads(1)  # the fixture `threads` restores the number
    for (one, axis), (got, _) in zip(results(1), batch, strict=True):
        assert torch.equal(got, torch.cat([one] * images, axis))


@pytest.mark.parametrize("maps", [(0, 3, 4), (2, 0, 4), (2, 3, 0)], ids=str)
@each_selected
def test_maps_without_pixels_have_gradients_of_zero(layer, maps):
    p = selected_problem(layer, maps, sizes=None)
    for name, value in p.run(OPS).items():
        assert not value.any(), name
        assert name[0] != "d" or value.shape == p.inputs[name[1:]].shape, name
    gradients = DECOMPOSITION.scan_gradients(*p.gradient_arguments(DECOMPOSITION).flat)
    for name, gradient in zip(OPERANDS, gradients, strict=True):
        assert not gradient.any(), name


def test_sizes_that_nobody_has_checked_are_clamped():
    p = Problem("fp64", "stable", 3, (3, 4, 5), corners=(0, 3))
    for ops in (OPS, DECOMPOSITION):
        got, want = (
            ops.scan(*p.scan()._replace(sizes=torch.tensor(sizes)))[1]
            for sizes in ([(9, 3), (-1, 4), (2, 100)], [(4, 3), (0, 4), (2, 5)])
        )
        assert torch.equal(got, want)


def empty(*size):
    return torch.empty(size, dtype=torch.float64)


OF_DIRECTIONS = "expected 1 to 4 directions and a corner of each, got "
MERGES = "expected merge 'none', 'sum', or 'shift' of 2 directions, got "
SIZES = "expected sizes of shape [3, 2], got "
OTHERS = "input", "weight_ih", "bias", "x", "h0", "c0"
# (changed arguments, part of the error's message). A function computes a wrong argument from the right one.
BAD = [
    (dict(weight_hh=lambda t: t[0]), "expected weight_hh of shape [D, taps, h, G, h], got [2, 3, 5, 3]"),
    (dict(x=None, input=None), "expected x or input, got neither"),
    (dict(weight_ih=None), "expected input and weight_ih together, got one of them"),
    (dict(input=None), "expected input and weight_ih together, got one of them"),
    (dict(input=lambda t: t[0]), "expected input of shape [B, H, W, channels], got [4, 5, 3]"),
    (dict(weight_ih=lambda t: t[0]), "weight_ih of shape [D, taps, h, G, channels], got [1, 3, 5, 3]"),
    (dict(x=lambda t: t[0]), "expected x of shape [D, B, H, W, G h], got [3, 4, 5, 15]"),
    (dict(cell="gru"), "expected the name of a cell, got gru"),
    (
        dict(x=empty(2, 0, 1 << 16, 1 << 15, 15), input=empty(0, 1, 1, 2)),
        "expected pixels of an image below 2147483648, got 2147483648",
    ),
    (dict(weight_hh=empty(0, 2, 1 << 22, 5, 1 << 22)), "expected hidden channels below 4194304, got 4194304"),
    (dict(input=empty(0, 4, 5, 1 << 24)), "expected channels of the input below 16777216, got 16777216"),
    (dict(weight_hh=lambda t: t[:0]), f"{OF_DIRECTIONS}0 and 2"),
    (dict(corners=[0]), f"{OF_DIRECTIONS}2 and 1"),
    (dict(weight_hh=lambda t: torch.cat([t] * 3)[:5], corners=[0] * 5), f"{OF_DIRECTIONS}5 and 5"),
    (dict(corners=[0, 4]), "expected corners from 0 to 3, got 4"),
    (dict(corners=[-1, 0]), "expected corners from 0 to 3, got -1"),
    (dict(x=empty(2, 1 << 30, 0, 1, 15)), "expected images of each direction below 1073741824, got 1073741824"),
    (dict(weight_hh=lambda t: t[:, :1]), "expected 2 taps, got 1"),
    (dict(diagonal=False, cell="pixelrnn"), "expected an odd number of taps, got 2"),
    (dict(input_kernel=(1 << 20) + 1), "expected taps and input_kernel below 1048576, got 1048577"),
    (dict(input_kernel=2), "expected an odd input_kernel of at least 1, got 2"),
    (dict(weight_ih=lambda t: torch.cat([t] * 3, 1)), "expected an odd input_kernel of at least 3, got 1"),
    (dict(diagonal=False, weight_hh=lambda t: t[:, :1]), "expected a diagonal scan with the cell stable"),
    (dict(merge="mean"), f"{MERGES}'mean' of 2"),
    (dict(merge="shift", weight_hh=lambda t: t[:1], corners=[0]), f"{MERGES}'shift' of 1"),
    (dict(peephole=empty(2, 4, 3)), "expected no peephole with the cell stable"),
    (dict(cell="graves", peephole=empty(2, 3, 3)), "expected peephole of shape [2, 4, 3], got [2, 3, 3]"),
    (dict(input=lambda t: t[1:]), "expected input of shape [3, 4, 5, 3], got [2, 4, 5, 3]"),
    (dict(cell="pixelrnn"), "expected weight_ih of shape [2, 1, 3, 4, 3], got [2, 1, 3, 5, 3]"),
    (dict(weight_hh=lambda t: t[..., 1:]), "weight_hh of shape [2, 2, 3, 5, 3], got [2, 2, 3, 5, 2]"),
    (dict(sizes=torch.ones(2, 2, dtype=torch.int64)), f"{SIZES}[2, 2]"),
    (dict(sizes=torch.ones(3, dtype=torch.int64)), f"{SIZES}[3]"),
    (dict(sizes=torch.ones(3, 3, dtype=torch.int64)), f"{SIZES}[3, 3]"),
    (dict(sizes=torch.ones(3, 2, dtype=torch.int32)), "expected sizes of dtype Long, got Int"),
    (dict.fromkeys(["weight_hh", *OTHERS], torch.Tensor.half), "expected float32 or float64, got"),
    *(({name: lambda t: t[..., :-1]}, f"expected {name} of shape [") for name in OTHERS[1:]),
    *(({name: torch.Tensor.float}, f"expected {name} of dtype Double, got Float") for name in OTHERS),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_bad_arguments(change, message):
    g = Problem("fp64", "stable", 3, (3, 4, 5), corners=(0, 3), x=True).gradient_arguments(OPS)
    s = g.scan._replace(**{name: new(getattr(g.scan, name)) if callable(new) else new for name, new in change.items()})
    backward = Gradients(*(t.to(s.weight_hh.dtype) for t in g[:4]), g.wanted, g.shares, s)
    for call in (lambda: OPS.scan(*s), lambda: OPS.scan_gradients(*backward.flat)):
        with pytest.raises(RuntimeError) as error:
            call()
        assert message in str(error.value)


@pytest.mark.parametrize("name", Gradients._fields[:-2])
def test_bad_arguments_of_the_gradients(name):
    g = Problem("fp64", "bilstm", 3, (3, 4, 5)).gradient_arguments(OPS)
    if name == "wanted":
        bad, message = [True] * 7, "expected 8 flags in wanted, got 7"
    else:
        bad = getattr(g, name)[..., 1:]
        message = f"expected {name} of shape {[*getattr(g, name).shape]}, got {[*bad.shape]}"
    with pytest.raises(RuntimeError, match=f"{re.escape(message)}$"):
        OPS.scan_gradients(*g._replace(**{name: bad}).flat)
    if name != "wanted":
        with pytest.raises(RuntimeError, match=f"expected {name} of dtype Double, got Float$"):
            OPS.scan_gradients(*g._replace(**{name: getattr(g, name).float()}).flat)


@halves
def test_autocast_keeps_the_state_in_float32(dtype):
    wide = Problem("fp32", "bilstm", 4, (2, 3, 4)).scan()
    with torch.autocast("cpu", dtype):
        y, h, c, gates = OPS.scan(*wide)
    taken = kernel_dtype("cpu", dtype)
    assert c.dtype == torch.float32 and y.dtype == h.dtype == taken and gates.dtype == gates_dtype(taken)


def test_a_layer_s_output_can_be_shared_pickled_and_changed_in_place():
    """A layer's output lies in memory from a cache (csrc/cpu/pages.h)."""
    layer = px.DiagonalBiLSTM(3, 48).eval()
    x = torch.randn(8, 3, 28, 28)
    with torch.no_grad():
        y, expected = layer(x), layer(x).clone()
    assert torch.equal(torch.from_numpy(y.numpy()), expected)
    y.share_memory_()
    assert torch.equal(y, expected) and y.is_shared()
    with torch.no_grad():
        y = layer(x).add_(1)
        assert torch.equal(y, expected + 1) and torch.equal(layer(x), expected)


def test_gradients_lie_as_the_parameters_do():
    """autograd would copy gradients that lack the parameters' strides."""
    layer = px.DiagonalBiLSTM(6, 16, bias=False)
    x, dy = (torch.randn(2, n, 5, 7).contiguous(memory_format=torch.channels_last) for n in (6, 16))
    with torch.profiler.profile() as profiler:
        layer(x).backward(dy)
    assert not {"aten::copy_", "aten::clone"} & {event.name for event in profiler.events()}
    assert all(p.grad.is_contiguous() for p in layer.parameters())
