"""The CUDA kernels executed on a CPU (tests/emulator), from NVRTC's PTX and under its race checker, with the host
code that launches them: every compiled kernel and every geometry, against the CPU operators in float64.

A report of the checker (a race, a missing barrier, a deadlock, memory that is not the kernel's, not written or not
initialised) is the message of the exception that the launch raises.
"""

import re

import pytest
import torch

from emulator import toolchain
from helpers.checks import assert_close
from helpers.emulated import library
from helpers.kernels import FORMATS
from helpers.scans import REFERENCE, Problem

from ..kernel_paths import GEOMETRIES, SHAPES, VARIANTS, check_names, compare_extremes, variant
from .architectures import ALONE, paths_on_each, variants_on_each
from .comparison import MAPS, RATIO, compare, compare_schedules

pytestmark = pytest.mark.emulated


@pytest.mark.parametrize("geometry", SHAPES)
@variants_on_each(VARIANTS)
def test_every_kernel_in_every_schedule(format, suffix, blocks, geometry, arch, emulated):
    problem, path, plans = variant(emulated.ops, arch, format, suffix, blocks, geometry)
    check_names(format, suffix, blocks, plans)
    compare_schedules(problem, emulated, path)


@paths_on_each("step", "resident", "resident::2")
def test_kernels_are_as_right_by_nvcc(path, arch):
    """A second opinion: what another compiler makes of the same source."""
    try:
        toolchain.nvcc()
    except toolchain.ToolchainError as error:
        pytest.skip(str(error))
    loaded = library.load(arch, by_nvcc=("resident_bf16", "step_kernels"))
    loaded.emulator.schedule("burst")
    compare(Problem("bf16", "bilstm", 16, (2, 5, 9), input=False), loaded.ops, path)


@ALONE["sm_90"]
@pytest.mark.parametrize("format", ["bf16", "fp16"])
def test_images_that_share_a_cluster_have_the_bits_of_one_alone(format, emulated):
    """All pairs of weights, two slices of warps; tiles that begin late and end early; a last cluster that lacks two
    images; NaN in one."""
    p = Problem(format, "diagonal-reverse", 128, (6, 18, 3), input=False)
    shared, alone = "resident:8_1_256_images:8:3", "resident:8_4_256:8:3"
    plans = [p.plan(emulated.ops, "sm_90", path)[0] for path in (shared, alone)]
    assert plans[0].startswith(f"forward_{format}_8_1_256_images: 8 blocks for 4 images") and plans[1].startswith(
        f"forward_{format}_8_4_256_cluster: "
    )

    def run(path):
        h, c, gates = emulated.ops.recurrence(*p.scan(path=path))
        return h, c[0], gates[0]

    expected = run(alone)
    assert all(torch.equal(a, b) for a, b in zip(expected, run(shared)))
    p.inputs["x"][0, 2, 3, 1, 70] = torch.nan
    others = [0, 1, 3, 4, 5]
    got = run(shared)
    assert all(torch.equal(a[others], b[others]) for a, b in zip(expected, got)) and got[0][2].isnan().any()


SIZES = [16, 24, 32, 48, 64, 96, 128, 192, 256]


@pytest.mark.parametrize("geometry", ["bilstm", "row1", "row3"])
@pytest.mark.parametrize("hidden", SIZES, ids="h{}".format)
@pytest.mark.parametrize("format", FORMATS)
def test_hidden_sizes_with_the_plan_of_a_gpu(format, hidden, geometry, arch, emulated):
    """What "auto" runs: where the resident kernels do not take a size the step path does, which the plan has to say."""
    problem = Problem(format, geometry, hidden, (1, 5, 10), input=False)
    for plan in problem.plan(emulated.ops, arch):
        assert re.match(
            f"(for|back)ward_{format}|step path: (faster|no kernel is compiled|the weights and lines .* need) ", plan
        ), plan
    compare(problem, emulated.ops, "auto")


RESIDENT_SIZES = [("bf16", 256), ("fp16", 256), ("tf32", 192), ("fp32", 192)]


@pytest.mark.parametrize("cells", [32, 64])
@pytest.mark.parametrize(("format", "largest"), RESIDENT_SIZES)
def test_sizes_that_the_resident_kernels_take(format, largest, cells, emulated):
    """Of the Diagonal LSTM on an H100: all up to `largest` with lines of 32 cells, and up to 128 at least with 64."""
    for hidden in (16, 32, 48, 64, 96, 128, 192, 256):
        plans = emulated.ops.describe_plan(2, 16, cells, cells, hidden, 2, True, format, 90, "resident")
        if hidden <= (largest if cells == 32 else 128):
            assert not any("step path" in plan for plan in plans), plans


@pytest.mark.parametrize("geometry", ["bilstm", "diagonal-reverse", "row1", "row3"])
@pytest.mark.parametrize("size", MAPS, ids="B{0[0]}-{0[1]}x{0[2]}".format)
@pytest.mark.parametrize("format", FORMATS)
def test_maps(format, size, geometry, emulated):
    for hidden, path in ((16, "resident"), (40, "resident"), (16, "resident:s_4_512:1")):
        compare(Problem(format, geometry, hidden, size, input=False, states=hidden == 16), emulated.ops, path)


@ALONE["sm_90"]  # the same kernels as test_every_kernel: one architecture is enough for the long maps
@pytest.mark.parametrize("format", ["bf16", "tf32"])
def test_the_papers_sizes(format, emulated):
    for size, hidden in ((28, 16), (32, 128)):
        compare(Problem(format, "bilstm", hidden, (1, size, size), input=False), emulated.ops, "resident")


@ALONE["sm_90"]  # the other one has the same arithmetic, without clusters
@pytest.mark.parametrize("path", ["resident", "resident::2"])
@pytest.mark.parametrize("format", FORMATS)
def test_nan_stays_where_it_belongs_and_large_values_saturate(format, path, emulated):
    compare_extremes(emulated.ops, "cpu", format, path, RATIO[format])


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("hidden", [1, 7, 20])
@pytest.mark.parametrize("format", ["fp64", *FORMATS])
def test_step_path(format, hidden, geometry, emulated):
    for images, height, width in MAPS:
        # The gradients of a state and of a weight of one unit are one sum, which may cancel to nothing: no states then,
        # and more images.
        maps = images if hidden > 1 else 4 * images, height, width
        compare(Problem(format, geometry, hidden, maps, input=False, states=hidden > 1), emulated.ops, "step")


def test_step_path_and_resident_path_continue_each_other(emulated):
    """What one saves the other differentiates: the two passes choose their path on their own."""
    for format in FORMATS:
        p = Problem(format, "bilstm", 16, (2, 5, 9), merge="none", input=False)
        expected = p.run(REFERENCE, torch.float64)
        for forward, backward in (("step", "resident"), ("resident", "step")):
            _, c, gates = emulated.ops.recurrence(*p.scan(path=forward))
            dx, *_ = emulated.ops.recurrence_backward(p.cotangent, c, gates, *p.scan(path=backward))
            assert_close("dx", expected["dx"], dx, RATIO[format])


def test_no_operand_and_no_saved_tensor_changes(emulated):
    p = Problem("bf16", "bilstm", 16, (2, 5, 9), merge="none", input=False)
    s, saved = p.scan(), emulated.ops.recurrence(*p.scan())
    before = [t.clone() for t in (*saved, *s.operands.values())]
    emulated.ops.recurrence_backward(p.cotangent, *saved[1:], *s)
    assert all(torch.equal(a, b) for a, b in zip(before, (*saved, *s.operands.values())))


def test_views_that_start_anywhere(emulated):
    s = Problem("bf16", "row3", 16, (2, 5, 9), input=False, states=False).scan(path="resident")
    x = torch.empty(s.x.numel() + 1, dtype=s.x.dtype)[1:].view_as(s.x).copy_(s.x)
    assert x.data_ptr() % 16
    assert torch.equal(emulated.ops.recurrence(*s)[0], emulated.ops.recurrence(*s._replace(x=x))[0])


def test_empty_batches(emulated):
    for path in ("step", "resident"):
        p = Problem("bf16", "bilstm", 16, (0, 3, 4))
        got = p.run(emulated.ops, p.dtype, path)
        assert got["h"].shape == (0, 3, 4, 2, 16) and all(t.count_nonzero() == 0 for t in got.values())


def test_the_plan_says_why_not(emulated):
    def plan(hidden=64, size=32, taps=2, format="bf16", capability=90):
        return emulated.ops.describe_plan(1, 1, size, size, hidden, taps, taps == 2, format, capability, "auto")[0]

    assert plan(capability=75) == "step path: expected a GPU of compute capability 8.0 or later, got 7.5"
    assert plan(taps=5) == "step path: expected at most 3 taps, got 5"
    assert plan(hidden=20) == "step path: expected a hidden size that is a multiple of 8, got 20"
    assert "need 330800 bytes of shared memory, a block may have 232448" in plan(hidden=256, format="fp32")
    assert "need 559136 bytes of shared memory, a block may have 166912 without clusters of thread blocks" in plan(
        hidden=128, format="fp32", capability=80
    )
    assert "lines of 64 cells without clusters of thread blocks" in plan(hidden=128, size=64, capability=80)
    assert "lines of 1000 cells" in plan(size=1000)
    for width, start in (
        (60_000, "forward_bf16_8_1_256_images: "),
        (70_000, "step path: expected lines * cells * hidden size of 4 images to be at most 1073741824"),
    ):
        assert emulated.ops.describe_plan(1, 4, 64, width, 64, 2, True, "bf16", 90, "resident:8_1_256_images:8")[
            0
        ].startswith(start)


@ALONE["sm_80"]
@pytest.mark.parametrize("format", ["bf16", "fp16"])
def test_an_a100_has_weights_in_registers_and_in_shared_memory(format, emulated, arch):
    problem = Problem(format, "bilstm", 128, (1, 28, 28), input=False)
    forward, backward = problem.plan(emulated.ops, arch)
    assert forward.startswith(f"forward_{format}_4s_4_512_single: 1 block an image, 512 threads")
    assert backward.startswith(f"backward_{format}_20s_0_256_single: 1 block an image, 256 threads")
    compare(problem, emulated.ops, "auto")


def test_a_path_that_cannot_run_says_why(emulated):
    p = Problem("fp32", "row5", 16, (1, 3, 4))
    with pytest.raises(RuntimeError, match="the resident path cannot run: expected at most 3 taps, got 5"):
        p.run(emulated.ops, p.dtype, "resident")
    p = Problem("fp64", "bilstm", 16, (1, 3, 4))
    with pytest.raises(RuntimeError, match="expected float32, float16 or bfloat16, got float64"):
        p.run(emulated.ops, p.dtype, "resident")
    with pytest.raises(RuntimeError, match="expected path 'auto', 'step' or 'resident', got 'fast'"):
        p.run(emulated.ops, p.dtype, "fast")
    p = Problem("bf16", "bilstm", 16, (1, 3, 4))
    with pytest.raises(RuntimeError, match="expected the name of a compiled kernel in a path, got '8_256'"):
        p.run(emulated.ops, p.dtype, "resident:8_256")
    with pytest.raises(RuntimeError, match="expected at most 4 fields in a path, got 'resident:s_4_512:1:1:2'"):
        p.run(emulated.ops, p.dtype, "resident:s_4_512:1:1:2")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def test_derivatives_inside_an_autocast_region_are_those_outside(dtype, emulated):
    p = Problem("fp32", "bilstm", 16, (2, 3, 4))
    results = []
    for inside in (False, True):
        s = p.scan(dtype, requires_grad=True)
        leaves, (y, *_) = list(s.operands.values()), emulated.ops.scan(*s)
        with torch.autocast("cpu", torch.bfloat16, enabled=inside):
            first = torch.autograd.grad(y, leaves, p.cotangent.to(dtype), create_graph=True)
            second = torch.autograd.grad(sum(g.float().square().sum() for g in first), leaves)
        results.append([*first, *second])
    assert all(torch.equal(a, b) for a, b in zip(*results))


def test_code_that_was_compiled_for_an_older_gpu_gets_what_that_one_has():
    """The driver of a newer GPU translates it, and clusters of blocks would trap."""
    emulated = library.load("sm_80")
    emulated.emulator.device("sm_90")
    try:
        plans = emulated.ops.describe_plan(1, 16, 32, 32, 192, 2, True, "bf16", 0, "auto")
        assert all(plan.startswith("step path: ") and "without clusters" in plan for plan in plans)
        plans = emulated.ops.describe_plan(1, 16, 32, 32, 64, 2, True, "bf16", 0, "auto")
        assert all("1 block an image" in plan for plan in plans)
    finally:
        emulated.emulator.device("sm_80")


def test_sizes_are_checked_before_they_are_divided_by(emulated):
    with pytest.raises(
        RuntimeError, match=r"sizes of 1 or more and .*, got \[1, 1, 5, 0, 16, 1\] of directions, images, height, width"
    ):
        emulated.ops.describe_plan(1, 1, 5, 0, 16, 1, False, "bf16", 90, "auto")
    with pytest.raises(RuntimeError, match="expected an odd number of taps, got 2"):
        emulated.ops.describe_plan(1, 1, 5, 5, 16, 2, False, "bf16", 90, "auto")
    assert (
        "expected lines of at most"
        in emulated.ops.describe_plan(1, 1, 1, 8_000_000, 16, 3, False, "bf16", 90, "auto")[0]
    )
    h, _, _ = emulated.ops.recurrence(*Problem("fp32", "row1", 16, (2, 3, 0), input=False).scan())
    assert h.shape == (2, 3, 0, 1, 16)


@pytest.fixture
def h100():
    """The emulated operators, whose GPU a test may change."""
    emulated = library.load("sm_90")
    emulated.emulator.schedule("burst")
    emulated.emulator.mutate_none()
    yield emulated
    emulated.emulator.take_shared_memory(0)
    emulated.emulator.device("sm_90")


# Forward and backward in at most 48 KB, which no launch has to ask for, and in more.
@pytest.mark.parametrize(("hidden", "blocks"), [(32, 1), (64, 1), (64, 4)], ids=["h32-C1", "h64-C1", "h64-C4"])
def test_a_kernel_with_static_shared_memory(hidden, blocks, h100):
    """The operators ask for what it leaves, and where all but a little is used, for a layout that fits."""
    h100.emulator.take_shared_memory(20_000)
    compare(Problem("fp32", "bilstm", hidden, (1, 4, 6), input=False), h100.ops, f"resident::{blocks}")


def plans(ops, hidden, size, images, capability=0):
    return ops.describe_plan(2, images, size, size, hidden, 2, True, "fp32", capability, "resident")


def shared_memory(plan):
    return int(re.search(r"(\d+) bytes of shared memory", plan)[1])


def test_the_plan_leaves_room_for_static_shared_memory(h100):
    most = 227 << 10
    before = [shared_memory(plan) for plan in plans(h100.ops, 64, 28, 16)]
    h100.emulator.take_shared_memory(most - max(before) + 1)
    assert all(shared_memory(plan) < max(before) for plan in plans(h100.ops, 64, 28, 17))
    h100.emulator.take_shared_memory(most - 100)
    assert all(plan.startswith("step path: the GPU has no room for the blocks") for plan in plans(h100.ops, 64, 28, 18))


def test_the_plan_counts_the_clusters_that_run_at_once(h100):
    """Where a GPC has room for 16 blocks, 32 clusters of 8 are two waves, of 4 they are one."""
    assert ": 4 blocks an image" in plans(h100.ops, 128, 64, 16, 90)[0]
    assert ": 4 blocks an image" in plans(h100.ops, 128, 64, 16)[0]
    # The same number of multiprocessors, in other GPCs.
    for gpc, multiprocessors, blocks in ((8, 256, 8), (7, 252, 4)):
        h100.emulator.device("sm_90", multiprocessors, gpc)
        assert f": {blocks} blocks an image" in plans(h100.ops, 128, 64, 16)[0]
    h100.emulator.device("sm_90", 128, 2)
    assert all(plan.startswith("step path: the GPU has no room for") for plan in plans(h100.ops, 128, 64, 16))


def test_tensors_on_two_devices_are_refused(emulated):
    """The kernel is called past the dispatcher, which would look for one of the other device."""
    p = Problem("fp32", "graves-peepholes", 16, (2, 3, 4), input=False, sizes=[(3, 4), (2, 3)])
    s, (h, c, gates) = p.scan(), emulated.ops.recurrence(*p.scan())
    read = {name: t for name, t in s._asdict().items() if isinstance(t, torch.Tensor)}
    sizes, taps = {"sizes": s.sizes}, {"diagonal": True, "taps": 2}
    states = {"h0": s.h0, **sizes}
    calls = {
        emulated.ops.recurrence: ("weight_hh", read, s._asdict()),
        emulated.ops.recurrence_backward: (
            "weight_hh",
            {"dh": h, "c": c, "gates": gates} | {name: read[name] for name in ("c0", "peephole", "sizes")},
            {"dh": h, "c": c, "gates": gates, **s._asdict()},
        ),
        emulated.ops.neighbour_states: (
            "h",
            states,
            {"h": h, **states, "corners": s.corners, **taps, "first": 0, "n": 2},
        ),
        emulated.ops.border_sums: ("dx", sizes, {"dx": s.x, **sizes, "corners": s.corners, **taps}),
    }
    cpu = torch._C.DispatchKeySet(torch._C.DispatchKey.CPU)
    for operator, (first, tensors, arguments) in calls.items():
        for name in tensors.keys() - {first}:
            moved = {**arguments, name: tensors[name].to("meta")}
            message = f"scan: expected all tensors on one device, got {first} on cpu and {name} on another"
            with pytest.raises(RuntimeError, match=message):
                operator.default.redispatch(cpu, *moved.values())
