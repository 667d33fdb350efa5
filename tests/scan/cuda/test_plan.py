"""Tests the planner, which chooses the CUDA kernel of a scan, without a GPU."""

import math
import re
from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import pixelrnn_ext as px
from kernel_costs import lines, model
from kernel_costs.kernel_list import FORMATS, every_kernel
from pixelrnn_ext.operators import library

from . import losses
from .sizes import Size

needs_planner = pytest.mark.skipif(library.why_no_planner() is not None, reason=f"{library.why_no_planner()}")
H100 = (9, 0)
KERNELS = every_kernel()


@pytest.mark.skipif(library.why_no_cuda() is None, reason="the CUDA kernels are built")
def test_a_plan_for_this_gpu_needs_the_cuda_kernels():
    with pytest.raises(RuntimeError, match="resident_plan without a capability needs the CUDA kernels: "):
        px.resident_plan(28, 28, 16)


@needs_planner
def test_it_asks_the_planner(core):
    size = Size(90, "bf16", False, 128, 2, (64, 60), 16, 2)
    plans = px.resident_plan(64, 60, 128, images=16, directions=2, dtype=torch.bfloat16, capability=H100)
    described = [size._replace(backward=backward).plan(core).describe() for backward in (False, True)]
    assert plans == tuple(f"{plan}; planned for compute capability 9.0 without asking a GPU" for plan in described)


@needs_planner
def test_dtypes_without_kernels():
    why_not = "step path: expected float32, float16 or bfloat16, got float64"
    assert px.resident_plan(32, 32, 128, dtype=torch.float64, capability=H100) == (why_not, why_not)
    with pytest.raises(TypeError, match="expected dtype to be float32, float64, float16 or bfloat16, got torch.int32"):
        px.resident_plan(32, 32, 128, dtype=torch.int32, capability=H100)


@pytest.mark.parametrize(("format", "largest"), [("bf16", 256), ("fp16", 256), ("tf32", 192), ("fp32", 192)])
def test_sizes_that_the_resident_kernels_take(core, format, largest):
    """On an H100, resident kernels take up to ``largest`` hidden units if a cell has 2 taps and a line has 32 cells.

    If a cell has 3 taps or a line has 64 cells, resident kernels take up to 128 hidden units. A tap is a neighbour that
    a cell reads, and a resident kernel computes all lines of a scan in one launch.
    """
    for hidden, cells, taps, backward in product((16, 32, 48, 64, 96, 128, 192, 256), (32, 64), (2, 3), (False, True)):
        if hidden <= (largest if (cells, taps) == (32, 2) else 128):
            plan = Size(90, format, backward, hidden, taps, cells, 16, 2).plan(core, step=False)
            assert plan.variant, plan.describe()


# (changed arguments, part of the reason why no resident kernel can compute the scan)
WHY_NOT = [
    (dict(capability=75), "expected a GPU of compute capability 8.0 or later, got 7.5"),
    (dict(taps=5), "expected at most 3 taps, got 5"),
    (dict(taps=3, gates=5), "expected 2 taps of cells of five gates, got 3"),
    (dict(hidden=20), "expected a hidden size that is a multiple of 8, got 20"),
    (dict(hidden=20, gates=5), "expected a hidden size that is a multiple of 8, got 20"),
    (
        dict(hidden=256, format="fp32"),
        "need 330800 bytes of shared memory, a block may have 232448; the largest hidden size that fits is 192",
    ),
    (dict(hidden=2048), "lines of 32 cells; the largest hidden size that fits is 256"),
    (
        dict(hidden=256, format="tf32", gates=5),
        "hidden size 256, 2 taps and lines of 32 cells need 463152 bytes of shared memory, a block may have 232448",
    ),
    (
        dict(hidden=128, format="fp32", capability=80),
        "need 559136 bytes of shared memory, a block may have 166912 without clusters of thread blocks",
    ),
    (
        dict(hidden=128, size=64, capability=80, backward=True),
        " without clusters of thread blocks; the largest hidden size that fits is 80",
    ),
    (dict(size=1000), "lines of 1000 cells"),
    (dict(size=(1, 8_000_000), taps=3), "expected lines of at most"),
]


@pytest.mark.parametrize(("size", "why_not"), WHY_NOT)
def test_a_plan_says_why_not(core, size, why_not):
    size = Size(90, "bf16", False, 64, 2, 32, 1, 1)._replace(**size)
    plan = size.plan(core).describe()
    assert plan.startswith("step path: ") and why_not in plan
    if limit := re.search(r"; the largest hidden size that fits is (\d+)", plan):
        hidden = range(8, size.hidden, 8)
        assert max(n for n in hidden if size._replace(hidden=n).plan(core, step=False).variant) == int(limit[1])


IMAGES = dict(variant="8_1_256_images", blocks=8, step=False)
# Each entry has a scan, restrictions of the planner's choice, and a text that the description of the chosen plan must
# contain.
CHOICES = [
    # 16 images in 2 directions need 32 clusters. 32 clusters of 4 blocks run at once, but not of 8 blocks.
    (Size(90, "bf16", False, 128, 2, 64, 8, 2), {}, ": 8 blocks an image"),
    (Size(90, "bf16", False, 128, 2, 64, 16, 2), {}, ": 4 blocks an image"),
    (Size(90, "tf32", False, 16, 2, 28, 256, 2), {}, " cycles a line, bound by memory, by "),
    (Size(90, "bf16", False, 16, 2, 28, 16, 2), {}, " cycles a line, by "),
    # A kernel whose clusters compute four images has 32-bit offsets into the feature maps, which limits the maps.
    (Size(90, "bf16", False, 64, 2, (64, 60_000), 4, 1), IMAGES, "forward_bf16_8_1_256_images: "),
    (Size(90, "bf16", False, 64, 2, (64, 70_000), 4, 1), IMAGES, "hidden size of 4 images to be at most 1073741824"),
]


@pytest.mark.parametrize(("size", "restriction", "says"), CHOICES)
def test_choices(core, size, restriction, says):
    assert says in size.plan(core, **restriction).describe()


def test_the_kernels_that_the_tests_read_are_those_that_are_compiled(core):
    """pytest must collect tests without a compiler, so kernel_costs reads csrc/cuda/scan/kernel_list.h as text."""

    for kernel, v in zip(KERNELS, core.variants, strict=True):
        pairs = v.pairs.registers, None if v.pairs.shared == core.any_pairs else v.pairs.shared
        sizes = pairs, v.tiles_or_units, v.threads, v.kind.name, v.gates
        assert kernel == (v.format.name, v.backward, kernel.held, *sizes) and kernel.name == v.name
        assert v.has_suffix(kernel.suffix)
        assert kernel.blocks == tuple(blocks for blocks in (1, 2, 4, 8) if core.has_blocks(v.kind, blocks))


def test_the_model_of_a_line_knows_the_layouts_of_the_headers(core):
    for kernel, variant in zip(KERNELS, core.variants):
        if kernel.backward:
            assert lines.has_one_tile(kernel) == core.has_one_tile(kernel.tiles_or_units, kernel.kind == "cluster")
        else:
            at_once = core.tiles_at_once(variant.pairs, kernel.tiles_or_units, kernel.format == "fp32")
            assert lines.tiles_at_once(kernel) == at_once


def test_every_kernel_is_worth_its_code(core):
    """Each kernel must make some scan faster, or be the only kernel for some hidden size.

    A kernel for bf16 also stays if the same kernel for fp16 must stay, and vice versa.
    """
    found = losses.slowdowns(core)
    worth = {name for name, slowdown in found.items() if slowdown.factor > losses.KEEP_ABOVE}
    worth |= losses.indispensable_kernels(core)
    twins = {name.replace("bf16", "fp16") for name in worth} | {name.replace("fp16", "bf16") for name in worth}
    assert set(found) - worth - twins == set()


def test_a_gpus_tensor_cores_take_their_time(core):
    """On each line of this scan, each of 8 warps executes 2 * 2 * 2 tensor-core instructions.

    The factors are 2 halves of a warp's 32 weight rows, 2 pieces of 64 bytes in a row, and 2 instructions for a piece.
    """

    def cycles(capability, format="bf16"):
        problem = Size(capability, format, False, 64, 1, 8, 1, 1).problem(core)
        restriction = core.Restriction(blocks=1, variant="s_1_512", step=False)
        return core.plan(problem, core.Device(capability, 99 << 10, 100), restriction).cycles

    # The block has 8 warps, and a multiprocessor has 4 schedulers, so each scheduler executes the tensor-core
    # instructions of 8 / 4 warps.
    products = 8 / 4 * 2 * 2 * 2
    assert model.PIPES["tensor"][0] == core.Constants().product == 6
    for capability, of_gpu in {80: 8, 86: 32, 89: 32, 120: 32}.items():
        assert cycles(capability) - cycles(90) == pytest.approx(products * (of_gpu - 6), rel=0.02)
        assert cycles(capability, "fp32") == cycles(90, "fp32")
    assert cycles(90) == cycles(100) == cycles(110)


# (format, whether the pass is backward, kernel, bytes that a block sends for each line, bytes that a warp stores
# together, whether other work hides the transfer)
EXCHANGES = {
    "forward": ("bf16", False, "8_4_256", 32 * 7 * 16 * 2, 128, False),
    "forward in fp16": ("fp16", False, "8_4_256", 32 * 7 * 16 * 2, 16, False),
    "forward in fp32": ("fp32", False, "s_1_512", 32 * 7 * 16 * 4, 32, False),
    "images": ("bf16", False, "8_1_256_images", 4 * 32 * 7 * 16 * 2, 128, True),
    "images in fp16": ("fp16", False, "8_1_256_images", 4 * 32 * 7 * 16 * 2, 16, True),
    "backward": ("bf16", True, "4_1_512", 32 * 7 * 16 * 4, 128, False),
    "backward without segments": ("bf16", True, "s_0_512", 32 * 7 * 16 * 4, 16, False),
}


@pytest.mark.parametrize(
    ("format", "backward", "variant", "sent", "together", "is_hidden"), EXCHANGES.values(), ids=EXCHANGES
)
def test_an_exchange_in_a_cluster_takes_its_time(core, format, backward, variant, sent, together, is_hidden):
    problem = Size(90, format, backward, 128, 1, 32, 4, 1).problem(core)
    restriction, constants = core.Restriction(blocks=8, groups=4, variant=variant, step=False), core.Constants()

    def cycles(of_bytes, of_lines):
        constants.exchange_bytes, constants.exchange_lines = of_bytes, of_lines
        return core.plan(problem, core.known_device(90), restriction, constants=constants).cycles

    base = cycles(1e9, 1e9)
    assert core.Constants().exchange_bytes == 14 and core.Constants().exchange_lines == 1
    for of_bytes, of_lines in ((16, 1e9), (1e9, 0.1), (1e9, 1), (4, 1), (16, 0.05)):
        exchange = sent / min(of_bytes, together * of_lines)
        expected = max(base, exchange) if is_hidden else base + exchange
        assert cycles(of_bytes, of_lines) == pytest.approx(expected)


@st.composite
def problems(draw, hidden=256, step=8, cells=64, images=300, taps=3):
    """Draws the arguments of random scans. With the defaults, resident kernels can compute most of the scans."""
    gates = draw(st.sampled_from([4, 5]))
    return {
        "format": draw(st.sampled_from(FORMATS)),
        "backward": draw(st.booleans()),
        "hidden": draw(st.integers(1, hidden // step)) * step,
        "taps": draw(st.integers(1, taps)) if gates == 4 else 2,
        "size": (draw(st.integers(1, cells)), draw(st.integers(1, cells))),
        "images": draw(st.integers(1, images)),
        "directions": draw(st.integers(1, 2 if gates == 4 else 4)),
        "gates": gates,
    }


# (compute capability, bytes of shared memory of a block, multiprocessors) of GPUs, some of which do not exist.
DEVICES = st.tuples(
    st.sampled_from([80, 86, 89, 90, 100, 110, 120, 130]), st.integers(48 << 10, 256 << 10), st.integers(16, 200)
)
RESTRICTIONS = st.fixed_dictionaries(
    {},
    optional={
        "max_blocks": st.sampled_from([1, 2, 4]),
        "blocks": st.sampled_from([1, 2, 4, 8]),
        "groups": st.integers(1, 8),
        "variant": st.sampled_from(sorted({kernel.suffix for kernel in KERNELS})),
    },
)


def layout(plan):
    s = plan.tiling
    return plan.variant.name, s.blocks, s.units, s.groups, s.tiles, s.images, plan.shared_memory, plan.cost


@given(problems(), DEVICES, RESTRICTIONS)
def test_every_candidate_fits_the_problem_the_kernel_and_the_gpu(core, sizes, device, restriction):
    problem = Size(0, **sizes).problem(core)
    for plan in core.candidates(problem, core.Device(*device), core.Restriction(**restriction)):
        v, s = plan.variant, plan.tiling
        capability, shared_memory, _ = device
        planned = dict(format=v.format.name, backward=v.backward, hidden=s.hidden, taps=s.taps, gates=v.gates)
        assert sizes == sizes | planned and s.gates == v.gates
        assert s.blocks * s.units == s.hidden and s.units % 8 == 0
        assert core.has_blocks(v.kind, s.blocks) and (s.blocks == 1 or capability >= 90)
        assert s.images == core.images_per_cluster(v.kind)
        assert s.units <= s.threads() <= v.threads and s.pairs() <= v.pairs.max()
        assert s.cells() >= problem.cells
        if not s.backward:
            assert s.tiles <= v.tiles_or_units
        elif v.tiles_or_units:
            assert s.cells_at_once(v.tiles_or_units) >= problem.cells
        assert s.first_offsets == [s.pair_offset(pair) for pair in range(len(s.first_offsets))]
        lines = s.images * s.line_bytes(s.segments) * (1 if s.backward else 2)
        used = s.lead_bytes(s.segments) + lines + (0 if v.pairs.registers else s.weight_bytes()) + s.up_bytes()
        assert used <= plan.shared_memory <= shared_memory
        assert plan.concurrency >= 1 and 0 < plan.seconds <= plan.cost < math.inf


@given(problems(), DEVICES, RESTRICTIONS)
def test_a_restriction_is_kept_and_makes_nothing_cheaper(core, sizes, device, restriction):
    problem, gpu = Size(0, **sizes).problem(core), core.Device(*device)
    free = {plan.variant.name: plan.cost for plan in core.candidates(problem, gpu)}
    for plan in core.candidates(problem, gpu, core.Restriction(**restriction)):
        s = plan.tiling
        assert s.blocks <= restriction.get("max_blocks", 8)
        assert s.blocks == restriction.get("blocks", s.blocks) and s.groups == restriction.get("groups", s.groups)
        assert "variant" not in restriction or plan.variant.has_suffix(restriction["variant"])
        assert plan.cost >= free[plan.variant.name]


@given(problems(), DEVICES)
def test_the_cheapest_candidate_is_chosen_unless_the_step_path_is_faster(core, sizes, device):
    problem, gpu = Size(0, **sizes).problem(core), core.Device(*device)
    candidates, step = core.candidates(problem, gpu), core.estimate_step(problem, gpu)
    resident, chosen = core.plan(problem, gpu, core.Restriction(step=False)), core.plan(problem, gpu)
    if not candidates:
        assert resident.variant is chosen.variant is None and resident.why_not == chosen.why_not
        return
    assert layout(resident) == min((layout(plan) for plan in candidates), key=lambda found: found[-1])
    if resident.seconds <= step:
        assert layout(chosen) == layout(resident)
    else:
        assert chosen.variant is None and chosen.why_not.startswith("faster by ")


@given(problems(), DEVICES)
def test_a_path_forces_a_layout_by_its_name_blocks_and_groups(core, sizes, device):
    problem, gpu = Size(0, **sizes).problem(core), core.Device(*device)
    by_name = {kernel.name: kernel for kernel in KERNELS}
    for plan in core.candidates(problem, gpu):
        v, s = plan.variant, plan.tiling
        path = core.Path(f"resident:{by_name[v.name].suffix}:{s.blocks}:{s.groups}")
        assert layout(core.plan(problem, gpu, path.restriction(v.format, v.backward, v.gates))) == layout(plan)


@given(st.sampled_from(["auto", "resident"]), st.sampled_from(KERNELS), st.integers(0, 8), st.booleans(), st.data())
def test_a_path_says_what_may_be_chosen(core, word, kernel, groups, is_named, data):
    """The path "resident:8_4_256:4:2" names a kernel, 4 blocks and 2 groups of warps. No number or 0 allows any."""
    blocks = data.draw(st.sampled_from((0, *kernel.blocks)))
    name = kernel.suffix if is_named else ""
    numbers = [number or data.draw(st.sampled_from(["", 0])) for number in (blocks, groups)]
    path = core.Path(":".join(map(str, [word, name, *numbers])))
    found = path.restriction(core.Format[kernel.format], kernel.backward, kernel.gates)
    assert (found.variant, found.blocks, found.groups) == (name, blocks, groups)
    assert found.max_blocks == 8 and found.step == (word == "auto")


def test_a_path_names_a_kernel_of_either_pass(core):
    """If the named kernel exists for only one pass, the other pass takes any kernel."""
    bf16 = core.Format.bf16
    assert core.has_variant(bf16, False, "s_4_512", 4) and not core.has_variant(bf16, True, "s_4_512", 4)
    problem = Size(90, "bf16", True, 64, 2, 28, 16, 2).problem(core)
    backward = core.plan(problem, core.known_device(90), core.Path("resident:s_4_512:4").restriction(bf16, True))
    assert backward.variant.backward and backward.tiling.blocks == 4


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("fast", "expected path 'auto', 'step' or 'resident', got 'fast'"),
        ("", "expected path 'auto', 'step' or 'resident', got ''"),
        ("resident:8_4_256:4:2:1", "expected at most 4 fields in a path, got 'resident:8_4_256:4:2:1'"),
        ("resident::::", "expected at most 4 fields in a path, got 'resident::::'"),
        ("auto::-4", "expected a number of blocks or groups in a path, got '-4'"),
        ("resident::four", "expected a number of blocks or groups in a path, got 'four'"),
        ("resident::4:2 ", "expected a number of blocks or groups in a path, got '2 '"),
        ("resident:8_256", "expected the name of a compiled kernel in a path, got '8_256'"),
    ],
)
def test_what_is_no_path(core, text, error):
    with pytest.raises(RuntimeError, match=f"scan: {error}"):
        core.Path(text).restriction(core.Format.bf16, False)


@given(problems(), DEVICES, st.integers(1, 64 << 10))
def test_more_shared_memory_takes_no_kernel_away(core, sizes, device, more):
    problem = Size(0, **sizes).problem(core)
    capability, shared_memory, multiprocessors = device
    before, after = (
        {plan.variant.name for plan in core.candidates(problem, core.Device(capability, bytes, multiprocessors))}
        for bytes in (shared_memory, shared_memory + more)
    )
    assert before <= after


LAYOUT = r"\w+: \d blocks? (an image|for \d images), \d+ threads, \d+ bytes of shared memory, \d+ at once"
SOURCE = r"(a model, NVRTC [\d.]+|measurements on .+)"
NUMBER = r"[\d.e+]+"
EXPECTED = rf"{LAYOUT}; expected {NUMBER} ms, {NUMBER} cycles a line(, bound by memory)?, by {SOURCE}"
REASON = rf"(faster by {SOURCE}: {NUMBER} ms, \w+ {NUMBER} ms|expected .*|the weights .*|no kernel .*)"


@given(problems(hidden=2048, step=4, cells=1 << 15, images=1 << 29, taps=5), DEVICES)
def test_there_is_a_plan_or_a_reason(core, sizes, device):
    """Huge sizes must not overflow."""
    plan = core.plan(Size(0, **sizes).problem(core), core.Device(*device))
    if plan.variant:
        assert plan.why_not == "" and re.fullmatch(EXPECTED, plan.describe()), plan.describe()
    else:
        assert re.fullmatch(REASON, plan.why_not) and plan.describe() == f"step path: {plan.why_not}", plan.why_not


@given(problems(hidden=128, cells=32), st.integers(0, 50))
def test_a_gpu_that_is_asked_has_the_last_word(core, sizes, at_once):
    gpu, queried = core.known_device(90), []

    def concurrency(variant, tiling, shared_memory):
        queried.append(variant.name)
        return at_once

    problem = Size(0, **sizes).problem(core)
    found = core.candidates(problem, gpu, concurrency=concurrency)
    if at_once:
        assert {(plan.variant.name, plan.concurrency) for plan in found} == {(name, at_once) for name in queried}
    else:
        assert found == []
        plan = core.plan(problem, gpu, concurrency=concurrency)
        assert plan.why_not.startswith("the GPU has no room for ") == bool(queried)
