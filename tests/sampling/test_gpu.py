"""Tests sampling by CUDA kernels on the emulator, which finds races in them."""

import re
from functools import partial

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import pixelrnn_ext as px
from emulator.control import SCHEDULES
from helpers.checks import RATIO, assert_close
from helpers.models import COLOURS, WIRED_MODELS, generator, make_model, random_images
from helpers.only_steps import OnlySteps
from helpers.root import ROOT
from helpers.selection import swept
from pixelrnn_ext import from_name, likelihood
from pixelrnn_ext.incremental import block, gpu
from pixelrnn_ext.incremental.block import ImageSampler
from pixelrnn_ext.incremental.eager import EagerRow
from pixelrnn_ext.incremental.gpu import GpuRow
from pixelrnn_ext.incremental.network import RowNetwork, pixel_steps
from pixelrnn_ext.incremental.program import Program
from pixelrnn_ext.incremental.rows import Rows
from pixelrnn_ext.incremental.steps import CellStep, Draw, Encode, Linear, Pointwise, Tap
from pixelrnn_ext.operators import columns, library


@pytest.fixture
def emulator(use_gpu):
    return use_gpu()


# {name: number of thread blocks that draw an image in one launch}. None stands for a separate launch for each stage,
# which is a set of independent operations on a pixel.
WAYS = {"stages": None, "block": 1, "2-blocks": 2, "8-blocks": 8}


@pytest.fixture(params=["stages", "block", "2-blocks"])
def way(request, use_gpu, monkeypatch):
    """Makes the sampler draw in one of the ways of WAYS, and fails the test if the sampler draws in another way.

    Yields the object that controls the emulator on which the sampler's kernels run.
    """
    blocks, taken = WAYS[request.param], set()
    emulator = use_gpu(blocks=blocks)
    for name in ("run", "draw_rows"):
        monkeypatch.setattr(columns, name, recorded(getattr(columns, name), taken))
    yield emulator
    assert taken == {"draw_rows" if blocks else "run"}


def recorded(function, calls):
    def call(*arguments):
        calls.add(function.__name__)
        return function(*arguments)

    return call


@pytest.mark.emulated
@pytest.mark.covering(2, sweep=100)
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("temperature", [1.0, 0.7, 0.0])
@pytest.mark.parametrize("known", [False, True], ids=["new", "completed"])
@pytest.mark.parametrize("condition", [None, "label", "map"])
@pytest.mark.parametrize("n", [1, 3, 6], ids="B{}".format)
@pytest.mark.parametrize("dtype", RATIO, ids=str)
@pytest.mark.parametrize("colours", COLOURS)
@pytest.mark.parametrize("name", WIRED_MODELS)
def test_images_and_logits(name, colours, dtype, n, condition, known, temperature, schedule, way, request):
    """A stage is a set of independent operations on a pixel, which one launch computes for all images.

    If there are at least four images, the launch divides the images into groups of up to four, so it divides 6 images
    into groups of four and two. If there are only 1 or 3 images, each image is a group of its own.
    """
    if request.node.callspec.params["way"] == "2-blocks":
        n = min(n, 2)  # the emulator takes long for clusters
    way.set_schedule(schedule, preemption=40 if schedule == "random" else 0)
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
def test_schedules(name, colours, way, request):
    """Only launches that compute one stage (a set of independent operations on a pixel) group images by four.

    The test therefore draws 5 images with such launches, and 1 image with a launch that draws whole images.
    """
    model, first = make_model(name, colours), None
    n = 5 if request.node.callspec.params["way"] == "stages" else 1
    images = random_images(model, n, 3, 4)
    for seed, schedule in enumerate(SCHEDULES):
        way.set_schedule(schedule, seed=seed, preemption=40 if schedule == "random" else 0)
        got = model.sample(n, (model.image_channels, 3, 4), generator=generator()), model.incremental_logits(images)
        first = first or got
        assert all(map(torch.equal, got, first)), schedule


@pytest.mark.emulated
def test_wide_layers_many_levels_and_a_stage_of_more_steps_than_a_launch(way):
    options = dict(dtype=torch.float32, hidden_channels=13, head_channels=35, num_layers=9, levels=256)
    model, reference = (make_model("diagonal", **options, backend=backend) for backend in ("auto", "reference"))
    images = random_images(model, 2, 3, 3)
    assert_close("logits", reference.incremental_logits(images), model.incremental_logits(images), RATIO[torch.float32])
    drawn, expected = (m.sample(2, (1, 3, 3), temperature=0.7, generator=generator()) for m in (model, reference))
    assert torch.equal(drawn, expected)


@pytest.mark.emulated
def test_hooks_that_add_and_apply_relu(way):
    """The hook computes relu(y) and then relu(y) + y from the output y of a convolution.

    The planner does not fuse the addition with the convolution, because the addition also reads y.
    """
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
    """The kernel of whole images refuses infinity and NaN, since it multiplies some weights by padding zeros.

    The kernel of stages computes with them, and both models refuse to draw from probabilities that are NaN.
    """
    model, reference = (make_model(name, backend=backend) for backend in ("auto", "reference"))
    for m in (model, reference):
        with torch.no_grad():
            # A logit of infinity gives NaN, and one of -infinity gives 0. This PixelCNN's last channel is negative.
            m.head[-1].weight[0, -1] = -bad if name == "pixelcnn" else bad
    images = random_images(model, 2, 3, 3)
    expected = reference.incremental_logits(images)
    torch.testing.assert_close(model.incremental_logits(images), expected, rtol=1e-12, atol=1e-12, equal_nan=True)
    for m in (model, reference):
        with pytest.raises(RuntimeError, match="expected Pixel.* to give probabilities"):  # a device error
            m.sample(2, (1, 3, 3), generator=generator())


@pytest.mark.emulated
def test_no_images(emulator):
    model = make_model("pixelcnn", "rgb", head_channels=300, levels=256)
    assert model.sample(0, (3, 3, 4)).shape == (0, 3, 3, 4)
    assert model.incremental_logits(torch.zeros(0, 3, 3, 4, dtype=torch.int64)).numel() == 0


@pytest.mark.emulated
@pytest.mark.parametrize("dtype", RATIO, ids=str)
def test_an_image_has_the_same_bits_in_every_batch(dtype, way):
    model = make_model("diagonal", "rgb", dtype)
    images = random_images(model, 6, 3, 4)
    together = model.incremental_logits(images)
    assert torch.equal(together[5:], model.incremental_logits(images[5:]))


@pytest.mark.emulated
@pytest.mark.parametrize("temperature", [0.0, 0.3, 1.0])
@pytest.mark.parametrize(("levels", "logits"), [(2, 1), (3, 3), (33, 33), (256, 256), (1025, 1025)])
def test_draws(temperature, levels, logits, emulator):
    """Values must equal the CPU's, unless rounding decides between two values."""
    rng = generator()
    rows = Rows(images=9, width=11, margin=0, dtype=torch.float64, device=torch.device("cpu"))
    all_logits = rows.buffer(2 * logits).normal_(std=3, generator=rng)
    all_logits[3] = 0
    all_logits[4, :, ::2] = -torch.inf if logits > 1 else 0
    all_logits[7, :, logits - 1] = all_logits[7, :, logits // 2] = 20  # two equal largest logits
    all_logits[8, :, 0] = all_logits[9, :, -1] = torch.nan
    all_logits[10, :, 0] = torch.inf
    uniform, known = rows.buffer(2, torch.float64).uniform_(generator=rng), rows.buffer(2, torch.bool)
    uniform[5], uniform[6] = 0, 1 - 2**-53
    known[2:, :3] = True
    scaled = torch.linspace(-1, 1, levels, dtype=torch.float64)
    values, image = rows.buffer(2, torch.int64).masked_fill_(known, levels - 1), rows.buffer(2)
    GpuRow(rows, [Draw(all_logits, uniform, known, values, scaled, image, k, temperature) for k in range(2)]).run()
    by_colour = all_logits.unflatten(2, (2, logits))
    expected = likelihood.draw_or_mark(by_colour, uniform, temperature).masked_fill(known, levels - 1)
    is_clear = torch.arange(11) != 6
    assert torch.equal(values[is_clear], expected[is_clear]) and torch.equal(image, scaled[values])
    if temperature:
        two = torch.cat([torch.zeros_like(by_colour), by_colour], 3) if logits == 1 else by_colour
        probability = (two / temperature).softmax(3)
        taken, upto = (p.gather(3, values[..., None].clamp(0))[..., 0] for p in (probability, probability.cumsum(3)))
        is_right = (taken > 0) & (upto - taken - uniform < 1e-13) & (uniform - upto < 1e-13)
        assert is_right[:8][~known[:8]].all()


def random_below(rng, n):
    return int(torch.randint(n, (), generator=rng))


def random_step(rng, rows, small, wide):
    """Returns a random step. Steps read and overwrite each other's results in a few buffers.

    ``small`` buffers have 5 channels. ``wide`` buffers have 20, for the gates of cells.
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
    """Returns the rows, the buffers to compare, and the steps of a random program."""
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
        if isinstance(steps[-1], Linear):
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


def run_images(rows, buffers, steps):
    *others, value = steps
    sampler = ImageSampler(OnlySteps(rows, buffers, others), [value], 1)
    assert sampler.why_not is None
    maps = torch.zeros(rows.images, 0, 1, rows.width, dtype=torch.float64)
    list(sampler.draw(maps, maps.bool(), maps.long(), None))


@pytest.mark.emulated
@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize(("name", "images"), [("stages", 2), ("stages", 5), ("block", 2), ("2-blocks", 2)])
def test_random_programs(name, images, seed, use_gpu):
    """Dependent random steps must give the same results in the planner's order as one by one."""
    use_gpu(blocks=WAYS[name])
    results = []
    for runner in (run_images if WAYS[name] else run_stages, lambda rows, buffers, steps: EagerRow(rows, steps).run()):
        rows, buffers, steps = random_program(seed, images)
        runner(rows, buffers, steps)
        results.append(buffers)
    for index, (got, expected) in enumerate(zip(*results)):
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-12, msg=f"buffer {index}")


# {model: the entries of its row in a table of docs/sampling.md}
TABLE = {
    name: cells.split(" | ")
    for line in (ROOT / "docs/sampling.md").read_text().splitlines()
    for name, cells in re.findall(r"^\| ((?:mnist|cifar10)-\S+) \| (.*) \|$", line)
}


@pytest.fixture
def planner():
    if reason := library.why_no_planner():
        pytest.skip(reason)


def rows_on_gpu(width, margin):
    return Rows(1, width, margin, torch.float32, torch.device("cpu"), capability=90)


def draws(model, network):
    rows, (_, _, colours) = network.rows, network.input.shape
    operands = [rows.buffer(colours, dtype) for dtype in (torch.float64, torch.bool, torch.int64)]
    scaled = torch.zeros(model.levels, dtype=rows.dtype)
    return [Draw(network.output, *operands, scaled, network.input, k, 1.0) for k in range(colours)]


class Operations(TorchDispatchMode):
    """Counts PyTorch's operations, except views. On a GPU, each counted operation launches a kernel."""

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
def test_launches_of_the_documentation(name, planner):
    model = from_name(name)
    network = RowNetwork(model, 1, 4, None, capability=90)
    steps = pixel_steps(network, draws(model, network))
    both = steps, network.mirrored_steps()
    launches = [GpuRow(network.rows, s).launches for s in both]
    operations = [f"{operations_of_pytorch(network.rows, s):,}" for s in both if s]
    gpus = {80: "A100", 90: "H100", 100: "B200", 120: "RTX 5090"}
    by_blocks = [
        ", ".join(gpu for capability, gpu in gpus.items() if ONE_LAUNCH[name].get(capability) == blocks) or "none"
        for blocks in (1, 8)
    ]
    assert TABLE[name] == [str(len(steps)), *map(str, launches), " + ".join(operations), "; ".join(by_blocks)]


# {model: {compute capability: blocks that draw an image}} of the tested GPUs that draw 16 images in one launch.
ONE_LAUNCH = {
    "mnist-diagonal": {90: 1, 100: 1, 120: 8},
    "mnist-diagonal-1-layer": {80: 1, 90: 1, 100: 1, 120: 8},
    "mnist5k-row": {90: 1, 100: 1, 120: 8},
    "mnist5k-diagonal": {90: 1, 100: 1, 120: 8},
    "mnist5k-pixelcnn": {90: 1, 100: 1, 120: 8},
    "cifar10-row": {90: 8, 100: 8},
    "cifar10-diagonal": {90: 8, 100: 8},
    "cifar10-pixelcnn": {90: 8, 100: 8},
    "imagenet32-row": {},
    "imagenet64-row": {},
}


def sampler_of(name, capability, images=16, width=28):
    model = (px.pretrained if name.startswith("mnist5k") else from_name)(name)
    network = RowNetwork(model, images, width, None, capability=capability)
    return ImageSampler(network, draws(model, network), 28)


LARGE = "imagenet32-row", "imagenet64-row"  # building one takes seconds


@pytest.mark.parametrize("name", [*(name for name in ONE_LAUNCH if name not in LARGE), *swept(*LARGE)])
def test_models_in_one_launch(name, planner):
    samplers = {c: sampler_of(name, c) for c in (80, 86, 90, 100, 120)}
    assert {c: sampler.team.blocks for c, sampler in samplers.items() if sampler.why_not is None} == ONE_LAUNCH[name]
    expected = r"expected (a model (that fits in \d+ bytes of|whose weights fit in the) shared memory|fewer images)"
    assert all(re.match(expected, sampler.why_not) for sampler in samplers.values() if sampler.why_not)


@pytest.mark.parametrize("blocks", [1, 4])
def test_damaged_programs(blocks, planner):
    rng = generator()
    model = make_model("diagonal", "rgb", condition_channels=2)
    network = RowNetwork(model, 2, 3, torch.randn(2, 2, 1, 1), capability=90)
    program = Program(network.rows)
    steps = pixel_steps(network, draws(model, network))
    codes = [program.compile_steps(steps), program.compile_steps(network.mirrored_steps())]
    codes += [program.compile_row_steps(row_steps) for row_steps in (network.before_row, network.after_row)]
    arguments = network.rows.margin, 4, blocks, 90
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


@pytest.mark.parametrize(
    ("name", "width", "launches"), [("mnist-diagonal", 28, 1), ("mnist-diagonal", 400, 3), ("cifar10-row", 64, 3)]
)
def test_launches_end_in_time_for_ctrl_c(name, width, launches, planner, monkeypatch):
    rows = []
    monkeypatch.setattr(columns, "upload_rows", lambda *arguments: None)
    monkeypatch.setattr(columns, "draw_rows", lambda *arguments: rows.append(arguments[-2:]))
    monkeypatch.setattr(block, "wait", lambda device: None)
    maps = torch.zeros(1, 1, 28, width, dtype=torch.float64)
    sampler = sampler_of(name, 90, 1, width)
    drawn = list(sampler.draw(maps, maps.bool(), maps.long(), None))
    assert sampler.launches == launches
    assert drawn == rows and len(rows) == launches
    assert [row for first, last in rows for row in range(first, last)] == list(range(28))


@pytest.mark.emulated
@pytest.mark.parametrize("rows_per_launch", [1, 2, 3])
def test_launches_continue_each_other(rows_per_launch, emulator, monkeypatch):
    model, seen = make_model("diagonal", "rgb"), []
    draw = partial(model.sample, 2, (3, 4, 3))
    whole = draw(generator=generator())
    monkeypatch.setattr(block, "_LAUNCH_SECONDS", 0)  # each launch draws one row
    monkeypatch.setattr(block, "max", lambda one, rows: rows_per_launch, raising=False)
    assert torch.equal(draw(generator=generator(), progress=lambda *rows: seen.append(rows)), whole)
    assert seen == [(min(row, 4), 4) for row in range(rows_per_launch, 4 + rows_per_launch, rows_per_launch)]


def compare_logits(name, height, width, **options):
    """Returns a function that tells whether the emulated GPU computes PyTorch's logits of an image."""
    model, reference = (make_model(name, "rgb", torch.float32, **options, backend=b) for b in ("auto", "reference"))
    images = random_images(model, 1, height, width)
    condition = torch.randn(1, 2, 1, 1, generator=generator()) if "condition_channels" in options else None
    expected = reference.incremental_logits(images, condition)
    return lambda: torch.allclose(model.incremental_logits(images, condition), expected, rtol=0, atol=1e-5)


def compare_values(height, width, units, channels):
    """Like compare_logits(), but for a network whose steps overwrite their operands.

    A step also reads ``channels`` channels of zeros, so that many lanes share a sum.
    """
    rng = generator()
    rows = Rows(1, width, 1, torch.float32, torch.device("cpu"))
    image, hidden, c, h, x, y, zeros, more = map(rows.buffer, (1, *[units] * 6, channels))
    gates, logits, zero_logits = map(rows.buffer, (4 * units, 3, 3))
    uniform = torch.rand(1, 1, height, width, dtype=torch.float64, generator=rng)
    operands = rows.buffer(1, torch.float64), rows.buffer(1, torch.bool), rows.buffer(1, torch.int64)
    sizes = (1, units), (units, 4 * units), (units, units), (units, 3)
    first, second, third, fourth = (torch.randn(size, generator=rng) for size in sizes)
    steps = [
        Linear([Tap(image, -1, 1, first)], zeros, hidden, 0, units, True),
        Pointwise(hidden, hidden, c, 0, units, False),
        CellStep([Tap(hidden, 0, units, second)], gates, c, 0, c, h, zeros, y, 0, units),
        Linear(
            [Tap(y, 0, units, third), Tap(more, 0, channels, torch.ones(channels, units))], zeros, x, 0, units, False
        ),
        Pointwise(x, h, h, 0, units, True),
        Linear([Tap(h, 0, units, fourth)], zero_logits, logits, 0, 3, False),
        Draw(logits, *operands, torch.linspace(-1, 1, 3), image, 0, 1.0),
    ]
    known, expected = torch.zeros_like(uniform, dtype=torch.bool), torch.zeros_like(uniform, dtype=torch.int64)
    for row in range(height):
        operands[0][1:, 0, 0] = uniform[0, 0, row]
        EagerRow(rows, steps).run()
        expected[0, 0, row] = operands[2][1:, 0, 0]

    def is_right():
        values = torch.zeros_like(expected)
        sampler = ImageSampler(OnlySteps(rows, [], steps[:-1]), steps[-1:], height)
        list(sampler.draw(uniform, known, values, None))
        return torch.equal(values, expected)

    return is_right


@pytest.mark.emulated
@pytest.mark.parametrize(
    ("kernel", "blocks", "mutants"), [("block_sampler_float32", 1, 5), ("cluster_sampler_float32", 2, 100)]
)
def test_every_barrier_push_and_wait_is_needed(kernel, blocks, mutants, use_gpu):
    emulator = use_gpu(blocks=blocks)
    # In a cluster, the kernel keeps weights in a ring buffer of equal pieces, called stages. The weights of the network
    # in compare_values(2, 1, 4, 0) fill an odd number of stages, which is less than the number of stages in the ring
    # buffer.
    cases = [
        compare_values(2, 1, 4, 0),
        compare_values(2, 3, 5, 64),
        compare_logits("diagonal", 3, 4, condition_channels=2),
    ]
    cases += [compare_logits("row", 2, 13, hidden_channels=13), compare_logits("pixelcnn", 3, 3)]

    def is_right(case):
        try:
            return case()
        except RuntimeError as error:
            assert re.search("emulator: (race|deadlock|bad use|exited|uninitialised)", str(error)), error
            return False

    assert all(map(is_right, cases))
    broken = [(site, mode) for site in emulator.sites(kernel) for mode in site.modes]
    assert len(broken) == mutants
    for site, mode in broken:
        emulator.mutate(kernel, site.number, mode)
        assert not all(map(is_right, cases)) and emulator.mutation_reached(), (site, mode)
        emulator.clear_mutations()


def test_steps_that_a_gpu_cannot_run(planner):
    rows = rows_on_gpu(width=2, margin=9)
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
    runs = []
    monkeypatch.setattr(columns, "run", lambda *program: runs.append(len(runs)))
    monkeypatch.setattr(gpu, "_MAX_NODES", 5)
    rows = rows_on_gpu(width=6, margin=0)
    row = GpuRow(rows, [Pointwise(rows.buffer(1), None, rows.buffer(1), 0, 1, True)])
    row.run(), row.run()
    assert row.launches == 1 and runs == [0, 1]


@pytest.mark.emulated
def test_a_gpu_without_clusters(emulator):
    """The driver may report that no cluster can run."""
    model = from_name("cifar10-row")
    try:
        emulator.set_device("sm_90", multiprocessors=132, gpc=4)
        [plan] = px.sampling_plan(model, 16, (3, 32, 32))
    finally:
        emulator.set_device("sm_90")
    assert plan.way == "stages" and re.fullmatch(
        r"expected a GPU that runs clusters of 8 blocks with \d+ bytes of shared memory each, got one that does not",
        *plan.why_not,
    )
