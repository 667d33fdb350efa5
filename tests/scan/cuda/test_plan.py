"""The planner of the CUDA kernels, and resident_plan, which asks it: no GPU is needed for either."""

import math
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import pixelrnn_ext as px
from helpers.kernels import FORMATS, every_kernel
from pixelrnn_ext.operators import library
from sass_model import lines, model

from . import losses
from .sizes import NAMED, Size

built = pytest.mark.skipif(library.why_no_cuda() is not None, reason=f"{library.why_no_cuda()}")
H100, A100, TURING = (9, 0), (8, 0), (7, 5)
KERNELS = every_kernel()


@pytest.mark.skipif(library.why_no_cuda() is None, reason="the CUDA kernels are built")
def test_without_the_kernels_it_says_so():
    with pytest.raises(RuntimeError, match="resident_plan needs the CUDA kernels: "):
        px.resident_plan(28, 28, 16, capability=H100)


@built
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    ("size", "hidden", "images"), [(28, 16, 16), (28, 64, 16), (32, 128, 16), (32, 128, 1), (64, 128, 64)]
)
def test_the_papers_sizes_are_resident_on_an_h100(size, hidden, images, dtype):
    for layer in (dict(diagonal=True, directions=2), dict(diagonal=False, taps=3)):
        for plan in px.resident_plan(size, size, hidden, images=images, dtype=dtype, capability=H100, **layer):
            assert plan.startswith("step path: faster ") or "step path" not in plan


@built
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        pytest.param(dict(capability=TURING), "expected a GPU of compute capability 8.0 or later, got 7.5", id="card"),
        pytest.param(
            dict(capability=H100, dtype=torch.float64), "expected float32, float16 or bfloat16, got float64", id="dtype"
        ),
        pytest.param(dict(capability=H100, diagonal=False, taps=5), "expected at most 3 taps, got 5", id="taps"),
        pytest.param(dict(capability=A100), "without clusters of thread blocks", id="clusters"),
    ],
)
def test_it_says_why_not(options, reason):
    for plan in px.resident_plan(32, 32, 128, **options):
        assert plan.startswith("step path: ") and reason in plan


@built
def test_a_cluster_lies_in_one_gpc():
    """32 clusters of 8 blocks that fill a multiprocessor are two waves, of 4 blocks they are one."""
    for images, blocks in ((8, 8), (16, 4)):
        plan = px.resident_plan(64, 64, 128, images=images, directions=2, dtype=torch.bfloat16, capability=H100)
        assert f": {blocks} blocks an image" in plan.forward


@built
def test_errors():
    with pytest.raises(TypeError, match="expected dtype to be float32, float64, float16 or bfloat16, got torch.int32"):
        px.resident_plan(32, 32, 128, dtype=torch.int32, capability=H100)


# ---- the planner alone
def problem(core, format, backward, hidden, taps, size, images, directions, gates=4):
    geometry = (core.Geometry.diagonal if taps == 2 else core.Geometry.row)(*size)
    sizes = geometry.lines, geometry.cells, images, directions, gates
    return core.Problem(core.Format[format], backward, hidden, taps, *sizes)


def test_a_plan_says_where_memory_bounds_it(core):
    """256 images of 28x28 h16 in tf32, and 16 in bf16; a GPU day takes no cycles from the first
    (benchmarks/gpu_day/costs.py)."""
    found = [Size(90, format, False, 16, 2, 28, images, 2) for format, images in (("tf32", 256), ("bf16", 16))]
    plans = [size.plan(core).describe() for size in found]
    assert [" cycles a line, bound by memory, by " in plan for plan in plans] == [True, False]


def test_a_plan_says_what_it_expects_and_how_it_knows(core):
    layout = r"\w+: \d blocks? (an image|for \d images), \d+ threads, \d+ bytes of shared memory, \d+ at once"
    resident = rf"{layout}; expected [\d.]+ ms, \d+ cycles a line(, bound by memory)?, by {{}}"
    step = r"step path: (faster by {}: [\d.]+ ms, \w+ [\d.]+ ms|expected .*|the weights .*|no kernel .*)"
    source = r"(a model, NVRTC [\d.]+|measurements on .+)"
    for size in NAMED.values():
        plan = size.plan(core).describe()
        assert re.fullmatch(f"{resident}|{step}".replace("{}", source), plan), plan


def test_the_kernels_that_the_tests_read_are_those_that_are_compiled(core):
    """`helpers.kernels` reads variants.csv, since tests are collected without a compiler."""

    def pairs(held):
        return held.registers, None if held.shared == core.held_any else held.shared

    compiled = [
        (v.name, v.format.name, v.backward, pairs(v.held), v.own, v.threads, v.kind.name, v.gates)
        for v in core.variants
    ]
    assert compiled == [(k.name, k.format, k.backward, k.pairs, k.own, k.threads, k.kind, k.gates) for k in KERNELS]
    for kernel, variant in zip(KERNELS, core.variants):
        assert variant.is_(kernel.suffix)
        assert kernel.blocks == tuple(blocks for blocks in (1, 2, 4, 8) if core.has_blocks(variant.kind, blocks))


def test_the_model_of_a_line_knows_the_layouts_of_the_headers(core):
    """tests/sass_model needs Python alone, and so repeats two rules."""
    for kernel, variant in zip(KERNELS, core.variants):
        if kernel.backward:
            assert lines.has_one_tile(kernel) == core.is_of_one_tile(kernel.own, kernel.kind == "cluster")
        else:
            at_once = core.tiles_at_once(variant.held, kernel.own, kernel.format == "fp32")
            assert lines.tiles_at_once(kernel) == at_once


def test_every_kernel_is_worth_its_code(core):
    """Without it one of the sizes in sizes.py would take longer, by the model, or some hidden size would have no
    resident kernel. bf16 and fp16 have the same kernels."""
    found = losses.losses(core)
    worth = {name for name, loss in found.items() if loss.factor > losses.MOST} | losses.only_kernels(core)
    twins = {name.replace("bf16", "fp16") for name in worth} | {name.replace("fp16", "bf16") for name in worth}
    assert set(found) - worth - twins == set()


def test_a_cards_tensor_cores_take_their_time(core):
    """A line of 8 cells in one block, h64 in bf16, one tap: 8 warps multiply 2 tiles of 16 rows by 2 pairs of 2
    steps."""

    def cycles(capability, format="bf16"):
        asked = problem(core, format, False, 64, 1, (8, 8), 1, 1)
        restriction = core.Restriction(blocks=1, variant="s_1_512", step=False)
        return core.plan(asked, core.Device(capability, 99 << 10, 100), restriction).cycles

    products = 8 / 4 * 2 * 2 * 2  # of a scheduler
    assert model.PIPES["tensor"][0] == core.Constants().product == 6
    for capability, of_card in {80: 8, 86: 32, 89: 32, 120: 32}.items():
        assert cycles(capability) - cycles(90) == pytest.approx(products * (of_card - 6), rel=0.02)
        assert cycles(capability, "fp32") == cycles(90, "fp32")
    assert cycles(90) == cycles(100) == cycles(110)


@pytest.mark.parametrize(
    ("backward", "variant", "pieces", "is_hidden"),
    [
        pytest.param(False, "s_1_512", 32 * 2 * 7, False, id="forward"),
        pytest.param(False, "8_1_256_images", 4 * 32 * 2 * 8, True, id="images"),
        pytest.param(True, "s_0_512", 32 * 4 * 8, False, id="backward"),
    ],
)
def test_an_exchange_in_a_cluster_takes_its_time(core, backward, variant, pieces, is_hidden):
    """h128 in 8 blocks, one tile a warp, all cells active. A push of 16 bytes lies in a line of its own."""
    asked = problem(core, "bf16", backward, 128, 1, (32, 32), 4, 1)
    restriction, constants = core.Restriction(blocks=8, groups=4, variant=variant, step=False), core.Constants()

    def cycles(of_bytes, of_lines):
        constants.exchange_bytes, constants.exchange_lines = of_bytes, of_lines
        return core.plan(asked, core.known_device(90), restriction, constants=constants).cycles

    alone = cycles(1e9, 1e9)
    assert core.Constants().exchange_bytes == 14 and core.Constants().exchange_lines == 1
    for of_bytes, of_lines, of_piece in ((16, 1e9, 1), (1e9, 1, 1), (4, 1, 4), (16, 0.1, 10)):
        expected = max(alone, of_piece * pieces) if is_hidden else alone + of_piece * pieces
        assert cycles(of_bytes, of_lines) == pytest.approx(expected)


# ---- what holds of every plan
@st.composite
def problems(draw, hidden=256, step=8, cells=64, images=300, taps=3):
    """Mostly those that resident kernels take; given more, others too. `step`: of the hidden sizes."""
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


# Capability, shared memory of a block, multiprocessors: with those of no card there is, too.
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
def test_every_candidate_fits_the_problem_the_kernel_and_the_card(core, sizes, device, restriction):
    asked = problem(core, **sizes)
    for plan in core.candidates(asked, core.Device(*device), core.Restriction(**restriction)):
        v, s = plan.variant, plan.tiling
        capability, shared_memory, _ = device
        assert (v.format.name, v.backward, s.hidden, s.taps, v.gates) == tuple(
            sizes[name] for name in ("format", "backward", "hidden", "taps", "gates")
        )
        assert s.gates == v.gates
        assert s.blocks * s.units == s.hidden and s.units % 8 == 0
        assert core.has_blocks(v.kind, s.blocks) and (s.blocks == 1 or capability >= 90)
        assert s.images == core.images_of(v.kind)
        assert s.units <= s.threads() <= v.threads and s.pairs() <= v.held.most()
        assert s.cells() >= asked.cells
        if not s.backward:
            assert s.tiles <= v.own
        elif v.own:
            assert s.pass_cells(v.own) >= asked.cells
        assert s.first_offsets == [s.pair_offset(pair) for pair in range(len(s.first_offsets))]
        lines = s.images * s.line_bytes() * (1 if s.backward else 2)
        used = lines + (0 if v.held.registers else s.weight_bytes()) + s.up_bytes()
        assert used <= plan.shared_memory <= shared_memory
        assert plan.at_once >= 1 and 0 < plan.seconds <= plan.cost < math.inf


@given(problems(), DEVICES, RESTRICTIONS)
def test_a_restriction_is_kept_and_makes_nothing_cheaper(core, sizes, device, restriction):
    asked, card = problem(core, **sizes), core.Device(*device)
    free = {plan.variant.name: plan.cost for plan in core.candidates(asked, card)}
    for plan in core.candidates(asked, card, core.Restriction(**restriction)):
        assert plan.tiling.blocks <= restriction.get("max_blocks", 8)
        assert plan.tiling.blocks == restriction.get("blocks", plan.tiling.blocks)
        assert plan.tiling.groups == restriction.get("groups", plan.tiling.groups)
        assert "variant" not in restriction or plan.variant.is_(restriction["variant"])
        assert plan.cost >= free[plan.variant.name]


@given(problems(), DEVICES)
def test_the_cheapest_candidate_is_chosen_unless_the_step_path_is_faster(core, sizes, device):
    asked, card = problem(core, **sizes), core.Device(*device)
    candidates, step = core.candidates(asked, card), core.estimate_step(asked, card)
    resident, chosen = core.plan(asked, card, core.Restriction(step=False)), core.plan(asked, card)
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
    asked, card = problem(core, **sizes), core.Device(*device)
    by_name = {kernel.name: kernel for kernel in KERNELS}
    for plan in core.candidates(asked, card):
        v, s = plan.variant, plan.tiling
        path = core.Path(f"resident:{by_name[v.name].suffix}:{s.blocks}:{s.groups}")
        assert layout(core.plan(asked, card, path.restriction(v.format, v.backward, v.gates))) == layout(plan)


@given(st.sampled_from(["auto", "resident"]), st.sampled_from(KERNELS), st.integers(0, 8), st.booleans(), st.data())
def test_a_path_says_what_may_be_chosen(core, word, kernel, groups, is_named, data):
    """A number that is left out, or 0, is any."""
    blocks = data.draw(st.sampled_from((0, *kernel.blocks)))
    name = kernel.suffix if is_named else ""
    numbers = [number or data.draw(st.sampled_from(["", 0])) for number in (blocks, groups)]
    path = core.Path(":".join(map(str, [word, name, *numbers])))
    found = path.restriction(core.Format[kernel.format], kernel.backward, kernel.gates)
    assert (found.variant, found.blocks, found.groups) == (name, blocks, groups)
    assert found.max_blocks == 8 and found.step == (word == "auto")


@pytest.mark.parametrize(
    ("hidden", "taps", "why_not"),
    [
        pytest.param(20, 2, "expected a hidden size that is a multiple of 8, got 20", id="hidden"),
        pytest.param(32, 3, "expected 2 taps of cells of five gates, got 3", id="taps"),
        pytest.param(
            256,
            2,
            "the weights and lines of hidden size 256, 2 taps and lines of 32 cells need 463152 bytes of shared "
            "memory, a block may have 232448",
            id="shared-memory",
        ),
    ],
)
def test_why_cells_of_five_gates_are_not_resident(core, hidden, taps, why_not):
    asked = problem(core, "tf32", False, hidden, taps, (32, 32), 16, 4, 5)
    assert core.plan(asked, core.known_device(90)).describe() == f"step path: {why_not}"


def test_a_path_names_a_kernel_of_either_pass(core):
    """One text is for both: the pass that has no such kernel takes any."""
    bf16 = core.Format.bf16
    assert core.has_variant(bf16, False, "s_4_512", 4) and not core.has_variant(bf16, True, "s_4_512", 4)
    asked = problem(core, "bf16", True, 64, 2, (28, 28), 16, 2)
    backward = core.plan(asked, core.known_device(90), core.Path("resident:s_4_512:4").restriction(bf16, True))
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
    asked = problem(core, **sizes)
    capability, shared_memory, multiprocessors = device
    before, after = (
        {plan.variant.name for plan in core.candidates(asked, core.Device(capability, bytes, multiprocessors))}
        for bytes in (shared_memory, shared_memory + more)
    )
    assert before <= after


@given(problems(hidden=2048, step=4, cells=1 << 15, images=1 << 29, taps=5), DEVICES)
def test_there_is_a_plan_or_a_reason(core, sizes, device):
    """Of any size: nothing overflows."""
    plan = core.plan(problem(core, **sizes), core.Device(*device))
    if plan.variant:
        assert plan.why_not == "" and plan.describe().startswith(f"{plan.variant.name}: ")
    else:
        assert plan.why_not and plan.describe() == f"step path: {plan.why_not}"


@given(problems(hidden=128, cells=32), st.integers(0, 50))
def test_a_gpu_that_is_asked_has_the_last_word(core, sizes, at_once):
    card, asked = core.known_device(90), []

    def concurrency(variant, tiling, shared_memory):
        asked.append(variant.name)
        return at_once

    found = core.candidates(problem(core, **sizes), card, concurrency=concurrency)
    if at_once:
        assert {plan.variant.name for plan in found} == set(asked) and all(plan.at_once == at_once for plan in found)
    else:
        assert found == []
        plan = core.plan(problem(core, **sizes), card, concurrency=concurrency)
        assert plan.why_not.startswith("the GPU has no room for ") == bool(asked)
