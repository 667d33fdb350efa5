"""Tests sampling by CUDA kernels on the emulator, which runs the same launches as a GPU and finds races in them."""

import re
from functools import partial

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import pixelrnn_ext as px
from emulator.control import SCHEDULES
from helpers.checks import assert_close
from helpers.models import COLOURS, WIRED_MODELS, generator, make_model, random_images
from helpers.root import ROOT
from pixelrnn_ext import from_name, likelihood
from pixelrnn_ext.incremental import block, gpu
from pixelrnn_ext.incremental.block import BlockSampler
from pixelrnn_ext.incremental.eager import EagerRow
from pixelrnn_ext.incremental.gpu import GpuRow
from pixelrnn_ext.incremental.network import RowNetwork, pixel_steps
from pixelrnn_ext.incremental.program import Program
from pixelrnn_ext.incremental.row_steps import RowCopy
from pixelrnn_ext.incremental.rows import Rows
from pixelrnn_ext.incremental.steps import CellStep, Draw, Encode, Linear, Pointwise, Tap
from pixelrnn_ext.operators import columns, library

# Largest errors relative to PyTorch's logits of the same dtype, which are rounded, too (see RATIO in test_sampling.py).
RATIO = {torch.float64: 1e-14, torch.float32: 2e-6}


@pytest.fixture
def emulator(monkeypatch):
    from helpers.emulated.sampling import use_emulated_gpu  # its import needs a CUDA compiler

    return use_emulated_gpu(monkeypatch)


@pytest.fixture(params=["stages", "images"])
def path(request, monkeypatch):
    """Makes the sampler use a launch for each stage, or one launch for whole images. Returns the emulator's controls.

    The test fails if the sampler draws in another way.
    """
    from helpers.emulated.sampling import use_emulated_gpu

    emulator = use_emulated_gpu(monkeypatch, whole_images=request.param == "images")
    taken = set()
    for name, operator in (("stages", "run"), ("images", "draw_rows")):
        monkeypatch.setattr(columns, operator, recorded(getattr(columns, operator), taken, name))
    yield emulator
    assert taken == {request.param}


def recorded(function, calls, name):
    def call(*arguments):
        calls.add(name)
        return function(*arguments)

    return call


@pytest.mark.emulated
@pytest.mark.covering(2, sweep=100)
@pytest.mark.parametrize("temperature", [1.0, 0.7, 0.0])
@pytest.mark.parametrize("known", [False, True], ids=["new", "completed"])
@pytest.mark.parametrize("condition", [None, "label", "map"])
@pytest.mark.parametrize("n", [1, 3, 6], ids="B{}".format)
@pytest.mark.parametrize("dtype", RATIO, ids=str)
@pytest.mark.parametrize("colours", COLOURS)
@pytest.mark.parametrize("name", WIRED_MODELS)
def test_images_and_logits(name, colours, dtype, n, condition, known, temperature, path):
    """In stages, 6 images run in tiles of four, the last of which is not full. 1 or 3 images run in tiles of one."""
    make = partial(make_model, name, colours, dtype, condition_channels=0 if condition is None else 2)
    size = {None: None, "label": (n, 2, 1, 1), "map": (n, 2, 4, 4)}[condition]
    context = None if size is None else torch.randn(size, generator=generator(), dtype=dtype)
    model, reference = make(), make(backend="reference")
    images = random_images(model, n, 4, 4)
    given = dict(given=images, known=torch.arange(16).view(4, 4) % 3 == 0) if known else {}
    options = dict(condition=context, temperature=temperature, **given)
    got, expected = (m.sample(n, tuple(images.shape[1:]), generator=generator(), **options) for m in (model, reference))
    assert torch.equal(got, expected)
    assert_close(
        "logits", reference.incremental_logits(images, context), model.incremental_logits(images, context), RATIO[dtype]
    )


@pytest.mark.emulated
@pytest.mark.parametrize("colours", COLOURS)
@pytest.mark.parametrize("name", ["row", "diagonal", "pixelcnn"])
def test_schedules(name, colours, path):
    model, first = make_model(name, colours), None
    images = random_images(model, 5, 3, 4)
    for seed, schedule in enumerate(SCHEDULES):
        path.set_schedule(schedule, seed=seed, preemption=40 if schedule == "random" else 0)
        got = model.sample(5, (model.image_channels, 3, 4), generator=generator()), model.incremental_logits(images)
        first = first or got
        assert all(map(torch.equal, got, first)), schedule


@pytest.mark.emulated
def test_wide_layers_and_a_stage_of_more_steps_than_a_launch(path):
    options = dict(dtype=torch.float32, hidden_channels=13, head_channels=40, num_layers=9, levels=256)
    model, reference = (make_model("diagonal", **options, backend=backend) for backend in ("auto", "reference"))
    images = random_images(model, 2, 3, 3)
    assert_close("logits", reference.incremental_logits(images), model.incremental_logits(images), RATIO[torch.float32])


@pytest.mark.emulated
def test_hooks_that_add_and_apply_relu(path):
    """The planner does not fuse the second pointwise step, because it reads the output of the convolution, too."""
    model, reference = (make_model("pixelcnn", "rgb", backend=backend) for backend in ("auto", "reference"))
    images = random_images(model, 2, 3, 3)
    for m in (model, reference):
        for conv in (module for module in m.modules() if isinstance(module, px.MaskedConv2d)):
            conv.register_forward_hook(lambda module, args, output: torch.relu(output) + output)
    assert_close("logits", reference.incremental_logits(images), model.incremental_logits(images), 1e-14)


@pytest.mark.emulated
@pytest.mark.parametrize("bad", [torch.inf, torch.nan], ids=str)
@pytest.mark.parametrize("name", ["row", "diagonal", "pixelcnn"])
def test_weights_that_are_not_finite(name, bad, emulator):
    """Such a model is not for the kernel of whole images, which multiplies some weights by zeros as padding."""
    model, reference = (make_model(name, backend=backend) for backend in ("auto", "reference"))
    for m in (model, reference):
        with torch.no_grad():
            m.head[-1].weight[0, -1] = bad
    images = random_images(model, 2, 3, 3)
    expected = reference.incremental_logits(images)
    torch.testing.assert_close(model.incremental_logits(images), expected, rtol=1e-12, atol=1e-12, equal_nan=True)
    assert torch.equal(*(m.sample(2, (1, 3, 3), generator=generator()) for m in (model, reference)))


@pytest.mark.emulated
def test_no_images(emulator):
    model = make_model("pixelcnn", "rgb", head_channels=300, levels=256)
    assert model.sample(0, (3, 3, 4)).shape == (0, 3, 3, 4)
    assert model.incremental_logits(torch.zeros(0, 3, 3, 4, dtype=torch.int64)).numel() == 0


@pytest.mark.emulated
def test_a_compiled_caller(path):
    model = make_model("diagonal")
    draw = partial(model.sample, 2, (1, 3, 3))
    expected = draw(generator=generator())
    assert torch.equal(torch.compile(lambda: draw(generator=generator()), backend="eager")(), expected)


@pytest.mark.emulated
@pytest.mark.parametrize("dtype", RATIO, ids=str)
def test_an_image_has_the_same_bits_in_every_batch(dtype, path):
    model = make_model("diagonal", "rgb", dtype)
    images = random_images(model, 6, 3, 4)
    together = model.incremental_logits(images)
    assert torch.equal(together[5:], model.incremental_logits(images[5:]))


@pytest.mark.emulated
@pytest.mark.parametrize("temperature", [0.0, 0.3, 1.0])
@pytest.mark.parametrize(("levels", "logits"), [(2, 1), (3, 3), (33, 33), (256, 256)])
def test_draws(temperature, levels, logits, emulator):
    """Draws the CPU's values, except where a uniform number is so close to a border that rounding decides."""
    rng = generator()
    rows = Rows(images=9, width=11, margin=0, dtype=torch.float64, device=torch.device("cpu"))
    all_logits = rows.buffer(2 * logits).normal_(std=3, generator=rng)
    all_logits[3] = 0
    all_logits[4, :, ::2] = -torch.inf if logits > 1 else 0
    all_logits[7, :, logits - 1] = all_logits[7, :, logits // 2] = 20  # two lanes have the largest logit
    if temperature:  # if a logit is NaN, the draw is the first value
        all_logits[8, :, 0] = torch.nan
    uniform, known = rows.buffer(2, torch.float64).uniform_(generator=rng), rows.buffer(2, torch.bool)
    uniform[5], uniform[6] = 0, 1 - 2**-53
    known[2:, :3] = True
    scaled = torch.linspace(-1, 1, levels, dtype=torch.float64)
    values, image = rows.buffer(2, torch.int64).masked_fill_(known, levels - 1), rows.buffer(2)
    GpuRow(rows, [Draw(all_logits, uniform, known, values, scaled, image, k, temperature) for k in range(2)]).run()
    by_colour = all_logits.unflatten(2, (2, logits))
    expected = likelihood.draw(by_colour, uniform, temperature).masked_fill(known, levels - 1)
    is_clear = torch.arange(11) != 6
    assert torch.equal(values[is_clear], expected[is_clear]) and torch.equal(image, scaled[values])
    if temperature:
        two = torch.cat([torch.zeros_like(by_colour), by_colour], 3) if logits == 1 else by_colour
        probability = (two / temperature).softmax(3)
        taken, upto = (p.gather(3, values[..., None])[..., 0] for p in (probability, probability.cumsum(3)))
        is_right = (taken > 0) & (upto - taken - uniform < 1e-13) & (uniform - upto < 1e-13)
        assert is_right[:8][~known[:8]].all()


def random_below(rng, n):
    return int(torch.randint(n, (), generator=rng))


def random_step(rng, rows, small, wide):
    """Returns a random step. Steps share a few buffers, so that they read and overwrite each other's results.

    ``small`` are buffers of 5 channels, and ``wide`` are buffers of 20, which hold the gates of cells.
    """
    number = partial(random_below, rng)

    def pick(buffers, *without):
        others = [b for b in buffers if not any(b is other for other in without)]
        return others[number(len(others))]

    kind = number(3)
    buffers = wide if kind < 2 and number(3) == 0 else small
    output = pick(buffers)
    start = number(output.shape[2])
    stop = start + 1 + number(output.shape[2] - start)
    if kind == 0:
        return Pointwise(pick(buffers), pick(buffers) if number(2) else None, output, start, stop, bool(number(2)))
    written = [output] if kind == 1 else [output, pick(small, output)]
    taps, count = [], (stop - start) * (1 if kind == 1 else 4)
    for shift in [-1, 0, 0][: number(4)]:
        read, width = pick(small, *written) if shift == 0 else pick(small), number(6)
        weight = torch.randn(width, count, generator=rng, dtype=rows.dtype) / 4
        taps.append(Tap(read, shift, width, weight))
    if kind == 1:
        return Linear(taps, pick(buffers, output), output, start, stop, bool(number(2)))
    h = written[1]
    c = pick(small, output, h, *(tap.input for tap in taps if tap.shift == 0))
    carried = pick(small, output, h)
    return CellStep(taps, pick(wide), carried, -number(2), c, h, pick(small, output, h, c), output, start, stop)


def random_program(seed, images):
    """Returns the rows, the buffers to compare, and the steps of a random program.

    The first steps write all channels of every buffer.
    """
    rng = generator(seed)
    rows = Rows(images=images, width=3, margin=1, dtype=torch.float64, device=torch.device("cpu"))
    sources = [rows.buffer(channels).uniform_(-1, 1, generator=rng) for channels in (5, 20)]
    small, wide = ([rows.buffer(source.shape[2]) for _ in range(n)] for source, n in zip(sources, (5, 2)))
    steps = [
        Pointwise(source, None, buffer, 0, buffer.shape[2], False)
        for source, buffers in zip(sources, (small, wide))
        for buffer in buffers
    ]
    for _ in range(10):
        steps.append(random_step(rng, rows, small, wide))
        if isinstance(steps[-1], Linear):  # adds pointwise steps that the planner may fuse
            for _ in range(random_below(rng, 4)):
                last, buffers = steps[-1], small if steps[-1].output.shape[2] == 5 else wide
                other, output = ([None, *buffers][random_below(rng, 1 + len(buffers))] for _ in range(2))
                operands = [last.output, other] if other is None or random_below(rng, 2) else [other, last.output]
                is_relu = bool(random_below(rng, 2))
                steps.append(
                    Pointwise(*operands, buffers[0] if output is None else output, last.start, last.stop, is_relu)
                )
    kept = [buffer for buffer in (*small, *wide) if random_below(rng, 2)]
    return rows, kept, steps


def run_stages(rows, buffers, steps):
    row = GpuRow(rows, steps)
    row.run()
    assert row.why_not is None and row.launches <= len(steps)


class OnlySteps:
    """Stands for a network of one colour. Its only row steps read all buffers, so that the kernel stores these."""

    def __init__(self, rows, buffers, steps):
        self.rows, self._steps, self.before_row = rows, steps, []
        self.after_row = [RowCopy(torch.zeros_like(rows.within(b)), rows.within(b)) for b in buffers]

    def steps(self, colour):
        return self._steps

    def mirrored_steps(self):
        return []


def run_images(rows, buffers, steps):
    *others, value = steps  # the last step sets the colour's value
    sampler = BlockSampler(OnlySteps(rows, buffers, others), [value], 1)
    assert sampler.why_not is None
    maps = torch.zeros(rows.images, 0, 1, rows.width, dtype=torch.float64)
    list(sampler.draw(maps, maps.bool(), maps.long(), None))


@pytest.mark.emulated
@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize(("run", "images"), [(run_stages, 2), (run_stages, 5), (run_images, 2)])
def test_random_programs(run, images, seed, emulator):
    """Steps that depend on each other in random ways give the same results as in their order, one by one."""
    results = []
    for runner in (run, lambda rows, buffers, steps: EagerRow(rows, steps).run()):
        rows, buffers, steps = random_program(seed, images)
        runner(rows, buffers, steps)
        results.append(buffers)
    for index, (got, expected) in enumerate(zip(*results)):
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-12, msg=f"buffer {index}")


# The rows of a table in docs/sampling.md, as {model: cells}.
TABLE = {
    name: cells.split(" | ")
    for line in (ROOT / "docs/sampling.md").read_text().splitlines()
    for name, cells in re.findall(r"^\| ((?:mnist|cifar10)-\S+) \| (.*) \|$", line)
}


@pytest.fixture
def planner(monkeypatch):
    """Makes the sampler plan for a GPU. To count launches, no GPU is needed."""
    if reason := library.why_no_planner():
        pytest.skip(reason)
    monkeypatch.setattr(columns, "is_gpu", lambda device: True)


def draws(model, network):
    """Returns the draw step of each colour."""
    rows, (_, _, colours) = network.rows, network.input.shape
    operands = [rows.buffer(colours, dtype) for dtype in (torch.float64, torch.bool, torch.int64)]
    scaled = torch.zeros(model.levels, dtype=rows.dtype)
    return [Draw(network.output, *operands, scaled, network.input, k, 1.0) for k in range(colours)]


class Operations(TorchDispatchMode):
    """Counts PyTorch's operations, except views. On a GPU, each of them launches at least one kernel."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        is_view = any(r.alias_info is not None and not r.alias_info.is_write for r in function._schema.returns)
        self.count += not is_view
        return function(*args, **kwargs or {})


def operations_of_pytorch(rows, steps):
    row = EagerRow(rows, steps)
    row.column.fill_(rows.margin)
    with torch.no_grad(), Operations() as operations:
        row._run_steps()
    return operations.count


@pytest.mark.parametrize("name", TABLE)
def test_launches_of_the_documentation(name, planner, monkeypatch):
    model = from_name(name)
    network = RowNetwork(model, 1, 4, None)
    steps = pixel_steps(network, draws(model, network))
    both = steps, network.mirrored_steps()
    launches = [GpuRow(network.rows, s).launches for s in both]
    operations = [f"{operations_of_pytorch(network.rows, s):,}" for s in both if s]
    gpus = [gpu for capability, gpu in {80: "A100", 90: "H100", 100: "B200"}.items() if capability in ONE_LAUNCH[name]]
    assert TABLE[name] == [str(len(steps)), *map(str, launches), " + ".join(operations), ", ".join(gpus) or "none"]


# {model: compute capabilities of the GPUs that draw 16 images in one launch}. The tests try 8.0, 8.6, 9.0, 10.0 and
# 12.0.
ONE_LAUNCH = {
    "mnist-diagonal": [90, 100],
    "mnist-diagonal-1-layer": [80, 90, 100],
    "mnist5k-row": [90, 100],
    "mnist5k-diagonal": [90, 100],
    "mnist5k-pixelcnn": [90, 100],
    "cifar10-row": [],
    "cifar10-diagonal": [],
    "cifar10-pixelcnn": [],
    "imagenet32-row": [],
    "imagenet64-row": [],
}


def why_not_in_one_launch(monkeypatch, name, capability, images=16):
    monkeypatch.setattr(columns, "plan_rows", plan_for(capability))
    model = (px.pretrained if name.startswith("mnist5k") else from_name)(name)
    network = RowNetwork(model, images, 28, None)
    return BlockSampler(network, draws(model, network), 28).why_not


PLAN_ROWS = columns.plan_rows


def plan_for(capability):
    return lambda *programs: PLAN_ROWS(*programs, capability)


@pytest.mark.parametrize("name", ONE_LAUNCH)
def test_models_in_one_launch(name, planner, monkeypatch):
    reasons = {c: why_not_in_one_launch(monkeypatch, name, c) for c in (80, 86, 90, 100, 120)}
    assert [capability for capability, reason in reasons.items() if reason is None] == ONE_LAUNCH[name]
    expected = r"expected a model (that fits in \d+ bytes of|whose weights fit in the) shared memory"
    assert all(re.match(expected, reason) for reason in reasons.values() if reason)


def test_so_many_images_that_stages_are_faster(planner, monkeypatch):
    assert why_not_in_one_launch(monkeypatch, "mnist-diagonal", 90, images=264) is None
    assert why_not_in_one_launch(monkeypatch, "mnist-diagonal", 90, images=265) == (
        "expected at most 264 images, two for each multiprocessor, got 265"
    )


def test_damaged_programs(planner):
    """The planner accepts or refuses every program, whatever integers the program has."""
    rng = generator()
    model = make_model("diagonal", "rgb", condition_channels=2)
    network = RowNetwork(model, 2, 3, torch.randn(2, 2, 1, 1))
    program = Program(network.rows)
    steps = pixel_steps(network, draws(model, network))
    codes = [program.compile_steps(steps), program.compile_steps(network.mirrored_steps())]
    codes += [program.compile_row_steps(row_steps) for row_steps in (network.before_row, network.after_row)]
    arguments = network.rows.margin, 4, 90
    torch.ops.pixelrnn_ext.plan_rows(program.tensors, *codes, *arguments)
    values, refused = [-(2**63), -2, -1, 0, 1, 2, 3, 5, 2**31, 2**63 - 1], 0
    for _ in range(2000):
        damaged = [list(code) for code in codes]
        code = damaged[random_below(rng, 4)]
        place = random_below(rng, len(code))
        code[place] = values[random_below(rng, len(values))]
        try:
            torch.ops.pixelrnn_ext.plan_rows(program.tensors, *damaged[:3], damaged[3][:place], *arguments)
        except RuntimeError as error:
            refused += "expected" in str(error) or "there" in str(error) or "ends" in str(error)
    assert 1000 < refused <= 2000


@pytest.mark.parametrize(("width", "launches"), [(28, 1), (400, 6)])
def test_launches_end_in_time_for_ctrl_c(width, launches, planner, monkeypatch):
    """The sampler divides an image into launches that take about 50 ms each, by estimate."""
    rows = []
    monkeypatch.setattr(columns, "plan_rows", plan_for(90))
    monkeypatch.setattr(columns, "draw_rows", lambda *arguments: rows.append(arguments[-2:]))
    monkeypatch.setattr(block, "wait", lambda device: None)
    model = from_name("mnist-diagonal")
    network = RowNetwork(model, 1, width, None)
    maps = torch.zeros(1, 1, 28, width, dtype=torch.float64)
    drawn = list(BlockSampler(network, draws(model, network), 28).draw(maps, maps.bool(), maps.long(), None))
    assert drawn == rows and len(rows) == launches
    assert [row for first, last in rows for row in range(first, last)] == list(range(28))


@pytest.mark.emulated
@pytest.mark.parametrize("rows_per_launch", [1, 2, 3])
def test_launches_continue_each_other(rows_per_launch, emulator, monkeypatch):
    model, seen = make_model("diagonal", "rgb"), []
    draw = partial(model.sample, 2, (3, 4, 3))
    whole = draw(generator=generator())
    monkeypatch.setattr(block, "_LAUNCH_SECONDS", 0)  # so that each launch draws one row
    monkeypatch.setattr(block, "max", lambda one, rows: rows_per_launch, raising=False)
    assert torch.equal(draw(generator=generator(), progress=lambda *rows: seen.append(rows)), whole)
    assert seen == [(min(row, 4), 4) for row in range(rows_per_launch, 4 + rows_per_launch, rows_per_launch)]


@pytest.mark.emulated
def test_every_barrier_is_needed(emulator):
    options = dict(dtype=torch.float32, condition_channels=2)
    model, reference = (make_model("diagonal", "rgb", **options, backend=b) for b in ("auto", "reference"))
    images, condition = random_images(model, 2, 3, 3), torch.randn(2, 2, 1, 1, generator=generator())
    expected = reference.incremental_logits(images, condition)

    def is_right():
        try:
            logits = model.incremental_logits(images, condition)
        except RuntimeError as error:
            assert "emulator: race" in str(error), error
            return False
        return torch.allclose(logits, expected, rtol=0, atol=1e-5)

    assert is_right()
    sites = emulator.sites("block_sampler_float32")
    assert len(sites) == 9 and {mode for site in sites for mode in site.modes} == {"dropped"}
    for site in sites:
        emulator.mutate(site.kernel, site.number, "dropped")
        assert not is_right() and emulator.mutation_reached(), site
        emulator.clear_mutations()


def test_steps_that_a_gpu_cannot_run(planner):
    rows = Rows(images=1, width=2, margin=9, dtype=torch.float32, device=torch.device("cpu"))
    x, y = rows.buffer(2), rows.buffer(2)
    values = rows.buffer(2, torch.int64)
    nine = [Tap(x, -shift, 2, torch.zeros(2, 2)) for shift in range(9)]
    steps = {
        "a step of at most 8 taps on a GPU, got more": Linear(nine, y, y, 0, 2, False),
        "a step that reads other channels than it writes": Linear(nine[:1], y, x, 0, 2, False),
        "a CPU to encode or decode, got a GPU": Encode(x, values, values, torch.zeros(2), y, 0),
    }
    for expected, step in steps.items():
        row = GpuRow(rows, [step])
        assert row.launches == 0 and row.why_not == f"expected {expected}"


def test_a_row_of_many_launches_is_not_captured(planner, monkeypatch):
    """The sampler captures no CUDA graph of such a row, because the graph would take too much memory."""
    runs = []
    monkeypatch.setattr(columns, "run", lambda *program: runs.append(len(runs)))
    monkeypatch.setattr(gpu, "_MAX_NODES", 5)
    rows = Rows(images=1, width=6, margin=0, dtype=torch.float32, device=torch.device("cpu"))
    row = GpuRow(rows, [Pointwise(rows.buffer(1), None, rows.buffer(1), 0, 1, True)])
    row.run(), row.run()
    assert row.launches == 1 and runs == [0, 1]
