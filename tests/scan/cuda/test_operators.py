"""Tests the operators of a scan on the CUDA kernels, and the kernels of csrc/cuda/scan/gradients.cuh."""

import pytest
import torch
from torch.library import opcheck

from helpers.checks import OperatorRecorder, assert_close, launches_kernel
from helpers.scans import KINDS, Problem
from pixelrnn_ext.operators.scan.arguments import OPERANDS, Gradients, Scan, state_dtype

from .borders import border_sums, neighbour_states
from .gpus import MAX_BLOCKS, on_gpus, on_gpus_with_paths, on_resident_gpus

paths = on_gpus_with_paths("step", "resident")


LAYOUTS = {
    "dense": lambda t: t,
    "channels first": lambda t: t.movedim(-1, 1).contiguous().movedim(1, -1),
    "strided": lambda t: torch.stack([t, t + 1], -1)[..., 0],
    "expanded": lambda t: t.narrow(-2, 0, 1).expand_as(t),
    "transposed": lambda t: t.transpose(-2, -3).contiguous().transpose(-2, -3),
    # The address of this tensor is not a multiple of 16 bytes.
    "offset": lambda t: torch.cat([t.new_zeros(1), t.flatten()])[1:].view(t.shape),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("layer", KINDS)
@paths
def test_maps_that_lie_anywhere(path, layer, layout, gpu):
    arrange = LAYOUTS[layout]
    p = Problem("bf16", layer, 16, (3, 5, 9), merge="none", input=False)
    p.inputs["x"], p.cotangent = arrange(p.inputs["x"]), arrange(p.cotangent)

    def run(arrange):
        s, dh = p.scan(path=path, device=gpu.device), p.cotangent.to(gpu.device)
        s, dh = s._replace(x=arrange(s.x.contiguous())), arrange(dh.contiguous())
        saved = gpu.ops.recurrence(*s)
        tensors = dh, *saved, *s.operands.values()
        before = [t.clone() for t in tensors]
        gradients = gpu.ops.recurrence_backward(dh, *saved[1:], *s)
        assert all(map(torch.equal, before, tensors))
        return *saved, *gradients

    got = run(arrange)
    directions_first = path == "resident" and layer == "bilstm"
    assert (got[0].permute(3, 0, 1, 2, 4) if directions_first else got[0]).is_contiguous()
    assert all(map(torch.equal, run(LAYOUTS["dense"]), got))


EMPTY = [
    (layer, path)
    for layer in ("row1", "row3", "row5", "diagonal-reverse", "bilstm", "stable")
    for path in ("step", "resident")
    if (layer, path) != ("row5", "resident")  # resident kernels allow 3 taps, and row5 has 5
]


@pytest.mark.parametrize("maps", [(0, 3, 4), (2, 3, 0)], ids=["no image", "no column"])
@on_gpus(["layer", "path"], EMPTY, lambda gpu, layer, path: path == "step" or MAX_BLOCKS[gpu] >= 1)
def test_maps_of_nothing(layer, path, maps, gpu):
    p = Problem("bf16", layer, 16, maps, x=True)
    got = gpu.run(p, path)
    assert got["h"].shape == (*maps, len(p.corners), 16)
    assert all(t.count_nonzero() == 0 for t in got.values())


@on_resident_gpus
def test_halves_keep_the_state_in_float32(gpu):
    p = Problem("bf16", "stable", 3, (2, 3, 4))
    got = gpu.compare(p)
    assert [got[name].dtype for name in ("h", "c", "gates")] == [torch.bfloat16, torch.float32, torch.float16]


@pytest.mark.parametrize(
    ("format", "layer", "options", "path", "why"),
    [
        ("fp32", "pixelrnn", dict(sizes=[(4, 4), (2, 3)]), "resident", "expected no sizes with a cell of four gates"),
        ("fp32", "row3", dict(sizes=[(4, 4), (2, 3)]), "resident", "expected no sizes with a cell of four gates"),
        ("fp32", "graves-peepholes", {}, "resident", "expected no peepholes"),
        ("fp32", "row5", {}, "resident", "expected at most 3 taps, got 5"),
        ("fp64", "bilstm", {}, "resident", "expected float32, float16 or bfloat16, got float64"),
        ("fp32", "bilstm", dict(hidden=20), "resident", "expected a hidden size that is a multiple of 8, got 20"),
        ("fp64", "bilstm", {}, "fast", "expected path 'auto', 'step' or 'resident', got 'fast'"),
        ("bf16", "bilstm", {}, "resident:8_256", "expected the name of a compiled kernel in a path, got '8_256'"),
    ],
)
@on_resident_gpus
def test_a_path_that_cannot_run_says_why(format, layer, options, path, why, gpu):
    problem = Problem(format, layer, maps=(2, 4, 4), **dict(hidden=16) | options)
    cannot = "scan: the resident path cannot run: " if path == "resident" else "scan: "
    with pytest.raises(RuntimeError, match=f"{cannot}{why}"):
        gpu.run(problem, path)
    gpu.compare(problem, "auto")


def test_a_recurrence_takes_x_and_checks_the_rest(gpu):
    s = Problem("fp32", "bilstm", 16, (2, 4, 4), x=True).scan(device=gpu.device)
    for change, message in (
        ({"x": None}, "expected x for the recurrence"),
        ({"bias": s.bias[:1]}, r"expected bias of shape \[2, 16, 4\], got \[1, 16, 4\]"),
        ({"weight_ih": None}, "expected input and weight_ih together, got one of them"),
    ):
        with pytest.raises(RuntimeError, match=message):
            gpu.ops.recurrence(*s._replace(**change))
    with pytest.raises(ValueError, match="expected x of torch.float32 .* got torch.float32"):
        gpu.ops.scan(*s._replace(x=s.x[:1]))


@pytest.mark.parametrize(
    ("height", "width", "taps", "message"),
    [
        (5, 0, 1, r"sizes of 1 or more, got \[1, 1, 5, 0, 16, 1\] of directions, images, height, width"),
        (5, 5, 2, "expected an odd number of taps, got 2"),
    ],
)
def test_sizes_are_checked_before_they_are_divided_by(height, width, taps, message, gpu):
    with pytest.raises(RuntimeError, match=message):
        gpu.ops.describe_plan(1, 1, height, width, 16, taps, False, "bf16", 90, "auto")


def test_tensors_of_two_devices_are_refused(gpu):
    """redispatch() skips torch's dispatcher, so the operators have to check the devices."""
    p = Problem("fp32", "graves-peepholes", 16, (2, 3, 4), x=True, merge="none", sizes=[(3, 4), (2, 3)])
    s, g = p.scan(device=gpu.device), p.gradient_arguments(gpu.ops, device=gpu.device)
    recurrence = s._replace(input=None, weight_ih=None, bias=None)
    states = {"h0": s.h0, "sizes": s.sizes, "corners": s.corners, "diagonal": True, "taps": 2}
    # {operator: (tensor whose device all tensors must have, arguments)}
    calls = {
        "scan": ("input", s._asdict()),
        "scan_gradients": ("dh", dict(zip((*Gradients._fields[:-1], *Scan._fields), g.flat))),
        "recurrence": ("weight_hh", recurrence._asdict()),
        "recurrence_backward": ("weight_hh", dict(dh=g.dh, c=g.c, gates=g.gates) | recurrence._asdict()),
        "neighbour_states": ("h", dict(h=g.h) | states | dict(first=0, n=2)),
        "border_sums": ("dx", dict(dx=s.x) | {name: states[name] for name in ("sizes", "corners", "diagonal", "taps")}),
    }
    unread = {"recurrence_backward": {"x", "h0"}}
    others = {"meta"} if gpu.emulator else {"cpu", *(["cuda:1"] if torch.cuda.device_count() > 1 else [])}
    for operator, (first, arguments) in calls.items():
        tensors = {name for name, a in arguments.items() if isinstance(a, torch.Tensor)}
        for name in tensors - unread.get(operator, set()) - {first}:
            for other in others:
                moved = arguments | {name: arguments[name].to(other)}
                message = f"on one device, got {first} on {gpu.device}\\S* and {name} on ({other}|another)"
                with pytest.raises((ValueError, RuntimeError), match=message):
                    getattr(gpu.ops, operator).default.redispatch(gpu.keys, *moved.values())


@pytest.mark.parametrize("maps", [(0, 3, 4), (2, 3, 4)], ids=["empty", "full"])
@pytest.mark.parametrize("layer", ["row3", "stable"])
def test_gradients_that_are_not_wanted_have_no_elements(layer, maps, gpu):
    problem = Problem("fp32", layer, 3, maps, x=True)
    g = problem.gradient_arguments(gpu.ops, device=gpu.device)
    all_gradients = gpu.ops.scan_gradients(*g.flat)
    for k in range(len(OPERANDS)):
        wanted = [i == k for i in range(len(OPERANDS))]
        got = gpu.ops.scan_gradients(*g._replace(wanted=wanted).flat)
        for want, a, b in zip(wanted, all_gradients, got):
            assert torch.equal(a, b) if want else b.shape == (*a.shape[:-1], 0)


@pytest.mark.parametrize("sizes", [None, [(3, 4), (2, 2)]], ids=["full", "ragged"])
@pytest.mark.parametrize(("format", "hidden"), [("fp64", 3), ("bf16", 3), ("fp32", 16), ("bf16", 16), ("fp16", 16)])
@pytest.mark.parametrize("layer", ["row3", "bilstm", "stable", "halved-peepholes"])
def test_opcheck(layer, format, hidden, sizes, gpu):
    """Resident kernels can compute 16 hidden units, but not 3."""
    problem = Problem(format, layer, hidden, (2, 3, 4), x=True, sizes=sizes)
    for m in (problem.inputs["x"], problem.inputs["input"], problem.cotangent):
        m.nan_to_num_()  # opcheck compares results, and NaN does not equal NaN
    tests = ["test_schema", "test_faketensor", *(["test_aot_dispatch_dynamic"] if gpu.name == "real" else [])]
    opcheck(
        gpu.ops.scan_gradients.default, problem.gradient_arguments(gpu.ops, device=gpu.device).flat, test_utils=tests
    )
    if sizes is None:  # outside of images c and the gates are arbitrary
        s = problem.scan(device=gpu.device, requires_grad=True)
        opcheck(gpu.ops.scan.default, tuple(s), test_utils=[*tests, "test_autograd_registration"])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def test_derivatives_inside_an_autocast_region_are_those_outside(dtype, gpu):
    p = Problem("fp32", "bilstm", 16, (2, 3, 4))
    results = []
    for inside in (False, True):
        s = p.scan(dtype, device=gpu.device, requires_grad=True)
        leaves, (y, *_) = list(s.operands.values()), gpu.ops.scan(*s)
        with torch.autocast(gpu.device, torch.bfloat16, enabled=inside):
            first = torch.autograd.grad(y, leaves, p.cotangent.to(gpu.device, dtype), create_graph=True)
            second = torch.autograd.grad(sum(g.float().square().sum() for g in first), leaves)
        results.append([*first, *second])
    assert all(map(torch.equal, *results))


# {name: (lines are anti-diagonals, neighbours of a cell, corner where each direction starts)}
SCANS = {
    "bilstm": (True, 2, [0, 1]),
    "four": (True, 2, [3, 2, 1, 0]),
    "row1": (False, 1, [0]),
    "row3": (False, 3, [2]),
    "row7": (False, 7, [1, 2]),
}
MAPS = [(1, 1, 1), (2, 1, 6), (2, 7, 1), (1, 3, 2), (5, 5, 7)]
TYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


def schedule(gpu):
    if gpu.emulator:
        gpu.emulator.set_schedule("random", seed=3, preemption=20)


def sizes_of(maps):
    images, height, width = maps
    return None, torch.tensor([(height + 9, width), (1, 6), (4, 1), (0, 3), (3, 4), (-1, 2)][:images])


@pytest.mark.parametrize("scan", SCANS)
@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_states_that_the_taps_read(dtype, scan, gpu):
    schedule(gpu)
    diagonal, taps, corners = SCANS[scan]
    for maps in MAPS:
        for hidden, sizes in ((h, s) for h in (1, 6, 16, 20) for s in sizes_of(maps)):
            h = torch.randn(*maps, len(corners), hidden).to(dtype)
            h0 = torch.randn(len(corners), hidden).to(dtype) if hidden != 6 else None
            options = corners, diagonal, taps, *((1, taps - 2) if taps > 3 else (0, taps))
            expected = neighbour_states(h, h0, sizes, *options)
            operands = (None if t is None else t.to(gpu.device) for t in (h, h0, sizes))
            assert torch.equal(gpu.ops.neighbour_states(*operands, *options).cpu(), expected), (maps, hidden, sizes)


@pytest.mark.parametrize("gates", [4, 5])
@pytest.mark.parametrize("scan", SCANS)
@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_sums_over_the_border(dtype, scan, gates, gpu):
    """The function border_sums() must leave out the pixels outside of the images, where dx is NaN."""
    schedule(gpu)
    diagonal, taps, corners = SCANS[scan]
    for maps in MAPS:
        for hidden, sizes in ((1, None), *((40, s) for s in sizes_of(maps))):
            dx = torch.randn(len(corners), *maps, gates * hidden).to(dtype)
            if sizes is not None:
                for b, (height, width) in enumerate(sizes.clamp(min=0)):
                    dx[:, b, height:], dx[:, b, :, width:] = torch.nan, torch.nan
            on_gpu = dx.to(gpu.device), None if sizes is None else sizes.to(gpu.device), corners, diagonal, taps
            got = gpu.ops.border_sums(*on_gpu)
            assert got.dtype == state_dtype(dtype)
            expected = border_sums(dx, sizes, corners, diagonal, taps)
            assert_close("border sums", expected, got.cpu(), 1e-14 if dtype == torch.float64 else 1e-6)
            assert torch.equal(got, gpu.ops.border_sums(*on_gpu))


@pytest.mark.parametrize(
    ("layer", "operand", "launches"),
    [
        ("bilstm", "weight_hh", ["neighbour_states", "bmm", "copy_"]),
        ("row3", "weight_hh", ["neighbour_states", "bmm", "copy_"]),
        ("stable", "weight_hh", ["neighbour_states", "bmm", "cat", "copy_"]),
        ("bilstm", "h0", ["clone", "border_sums", "bmm"]),
        ("stable", "h0", ["clone", "cat", "border_sums", "bmm"]),
        ("row3", "c0", ["sum"]),
        ("stable", "c0", ["sum", "add_"]),
    ],
)
def test_a_gradient_takes_one_kernel_and_one_product(layer, operand, launches, gpu):
    """A weight's gradient takes a matrix product, and a copy into the weight's strides."""
    problem = Problem("fp32", layer, 16, (2, 5, 9), merge="none")
    g = problem.gradient_arguments(gpu.ops, device=gpu.device, wanted=[name == operand for name in OPERANDS])
    with OperatorRecorder(launches_kernel) as recorder:
        gpu.ops.scan_gradients.default.redispatch(gpu.keys, *g.flat)
    assert recorder.names[0] == "recurrence_backward" and sorted(recorder.names[1:]) == sorted(launches)
