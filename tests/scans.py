"""Scans through one forced path of the CUDA kernels, for those who run them: tests/emulator or a GPU."""

import torch

import lstm2d
from checks import assert_close
from emulated.kernels import kernels, variants
from pixelrnn_ext.cells import CELLS
from pixelrnn_ext.operators.lstm2d.sizes import inside_of

REFERENCE = torch.ops.pixelrnn_ext
DTYPES = {
    "fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16, "fp64": torch.float64,
}  # fmt: skip
GEOMETRIES = {  # diagonal, taps, directions, reverse
    "bilstm": (True, 2, 2, False),
    "diagonal-reverse": (True, 2, 1, True),
    "row3": (False, 3, 1, False),
    "row1": (False, 1, 1, False),
    "row5": (False, 5, 2, False),
}
SMALLEST = {1: 16, 2: 16, 4: 32, 8: 64}  # hidden size that a cluster of so many blocks takes
# A map of two tiles on a line whose window starts and ends inside a tile; more columns than rows; rows of two tiles.
SHAPES = {"bilstm": (12, 9), "diagonal-reverse": (5, 13), "row3": (4, 11)}
NAMES = {
    (kernel.backward, kernel.format, kernel.suffix, blocks): kernel.name
    for kernel in kernels()
    for blocks in kernel.blocks
}
# 8 blocks have 64 units at least, which are 4 pairs of tf32 with one tap.
IMPOSSIBLE = {("tf32", "2_1_256", 8)}
VARIANTS = variants()
VARIANT_IDS = ["{}-{}-C{}".format(*variant) for variant in VARIANTS]


class Problem:
    """One scan and its cotangent, in the format's dtype."""

    def __init__(self, format, geometry, hidden, images, height, width, *, states=True):
        self.diagonal, self.taps, self.directions, self.reverse = GEOMETRIES[geometry]
        self.format, self.dtype = format, DTYPES[format]
        self.sizes = images, height, width, hidden

        def draw(*size, scale=1.0):
            return (scale * torch.randn(size, dtype=torch.float64)).to(self.dtype)

        self.inputs = {
            "x": draw(self.directions, *self.sizes, 4),
            "weight": draw(self.directions, self.taps, hidden, 4, hidden, scale=0.8 / (self.taps * hidden) ** 0.5),
        }
        if states:
            self.inputs |= {"h0": draw(self.directions, hidden), "c0": draw(self.directions, hidden)}
        self.cotangent = draw(self.directions, *self.sizes)

    def plan(self, ops, arch, path="auto"):
        capability = int(arch.removeprefix("sm_"))
        return ops.describe_plan(self.directions, *self.sizes, self.taps, self.diagonal, self.format, capability, path)

    def run(self, ops, dtype, path="auto", device="cpu"):
        """{name: tensor} of the outputs and of the gradients of all inputs, chained by autograd."""
        leaves = {name: t.to(device, dtype).requires_grad_() for name, t in self.inputs.items()}
        states = leaves.get("h0"), leaves.get("c0")
        options = None, None, None, 1, self.diagonal, self.reverse, path, self.format == "tf32"
        outputs = ops.line_scan(leaves["x"], leaves["weight"], *states, *options)
        gradients = torch.autograd.grad(outputs[0], list(leaves.values()), self.cotangent.to(device, dtype))
        named = dict(zip(("h", "c", "gates"), outputs)) | {f"d{name}": g for name, g in zip(leaves, gradients)}
        return {name: t.detach() for name, t in named.items()}


class Problem2d:
    """One scan of LSTM2d and its cotangent, in the format's dtype. `variant`: of lstm2d.VARIANTS."""

    def __init__(self, format, variant, corners, hidden, maps, *, sizes=None, states=True, channels=3):
        self.cell, has_peepholes = lstm2d.VARIANTS[variant]
        self.format, self.dtype, self.hidden = format, DTYPES[format], hidden
        self.sizes = None if sizes is None else torch.tensor(sizes)
        self.maps, directions, gates = maps, len(corners), len(CELLS[self.cell].gates)
        self.corners = [lstm2d.CORNERS.index(corner) for corner in corners]

        def draw(*size, scale=1.0):
            return (scale * torch.randn(size, dtype=torch.float64)).to(self.dtype)

        self.inputs = {
            "input": draw(*maps, channels),
            "weight_ih": draw(directions, 1, hidden, gates, channels, scale=0.8),
            "weight": draw(directions, 2, hidden, gates, hidden, scale=0.8 / (2 * hidden) ** 0.5),
            "bias": draw(directions, hidden, gates),
            "h0": draw(directions, hidden) if states else None,
            "c0": draw(directions, hidden) if states else None,
            "peepholes": draw(directions, 4, hidden, scale=0.5) if has_peepholes else None,
        }
        self.cotangent = draw(*maps, directions, hidden)
        if sizes is not None:
            for b, (height, width) in enumerate(sizes):  # what is outside reaches nothing
                for m in (self.inputs["input"], self.cotangent):
                    m[b, height:], m[b, :, width:] = torch.nan, torch.nan

    def run(self, ops, dtype, path="auto", device="cpu"):
        """{name: tensor} of the outputs and of the gradients of all inputs, c and gates within the images."""
        leaves = {name: t if t is None else t.to(device, dtype).requires_grad_() for name, t in self.inputs.items()}
        sizes = None if self.sizes is None else self.sizes.to(device)
        h, c, gates = ops.lstm2d_scan(*leaves.values(), sizes, self.corners, self.cell, path, self.format == "tf32")
        needed = {name: t for name, t in leaves.items() if t is not None}
        gradients = torch.autograd.grad(h, list(needed.values()), self.cotangent.to(device, dtype))
        if sizes is not None:
            inside = inside_of(sizes, *self.maps[1:], h.device)[..., None]
            c, gates = (torch.where(inside, m, 0) for m in (c, gates))
        named = {"h": h, "c": c, "gates": gates} | {f"d{name}": g for name, g in zip(needed, gradients)}
        return {name: t.detach() for name, t in named.items()}


def pairs(kernel, hidden, taps, blocks):
    """Tiling::pairs() of csrc/cuda/tiling.h, for machines that compile nothing; tests/test_tiling.py compares them."""
    values = kernel.gates * hidden // blocks if kernel.backward else hidden
    return taps * -(-values * DTYPES[kernel.format].itemsize // 64)


def hidden_sizes(kernel, blocks, taps):
    """That so many blocks take: the smallest one; where weights are both in registers and in shared memory, those that
    have both."""
    registers, shared = kernel.pairs
    if not registers or not shared:
        return [SMALLEST[blocks]]

    return [
        hidden
        for hidden in range(8 * blocks, 257, 8 * blocks)
        if registers < pairs(kernel, hidden, taps, blocks) <= registers + shared
    ]


def variant(ops, arch, format, suffix, blocks, geometry):
    """A problem that this variant takes (of other taps where its registers hold no more, or fewer; None: nothing), its
    path and plans."""
    path = f"resident:{suffix}:{blocks}"
    of_either_pass = [k for k in kernels() if (k.format, k.suffix) == (format, suffix) and blocks in k.blocks]
    images = 3 if blocks < 4 else 1
    if any(k.kind == "images" for k in of_either_pass) and GEOMETRIES[geometry][2] == 1:
        images = 5  # two clusters, of which the last one lacks three
    for name in (geometry, "row1", "row3"):
        taps, reverse = GEOMETRIES[name][1], GEOMETRIES[geometry][3]
        # From the smallest to the largest; in a reversed scan the other way round, so that both run.
        for hidden in sorted(
            {size for kernel in of_either_pass for size in hidden_sizes(kernel, blocks, taps)}, reverse=reverse
        ):
            problem = Problem(format, name, hidden, images, *SHAPES[geometry])
            found = problem.plan(ops, arch, path)
            if not any(plan.startswith("step path: ") for plan in found):
                return problem, path, found
    assert (format, suffix, blocks) in IMPOSSIBLE, found
    return None, path, found


VARIANTS_2D = variants(5)
VARIANT_2D_IDS = ["{}-{}-C{}".format(*variant) for variant in VARIANTS_2D]


def variant2d(format, suffix, blocks, images, **options):
    """A problem of lines of two tiles, whose window starts and ends inside a tile, from two corners, that this variant
    of five gates takes; its path, and its kernels."""
    found = [k for k in kernels(5) if (k.format, k.suffix) == (format, suffix) and blocks in k.blocks]
    hidden = max(size for kernel in found for size in hidden_sizes(kernel, blocks, 2))
    problem = Problem2d(format, "stable", ("tr", "bl"), hidden, (images, 12, 5), **options)
    return problem, f"resident:{suffix}:{blocks}", found


def check_names(format, suffix, blocks, plans):
    """A pass that has the variant takes it."""
    for backward, plan in enumerate(plans):
        if kernel := NAMES.get((bool(backward), format, suffix, blocks)):
            assert plan.startswith(f"{kernel}: {blocks} block"), plan


def compare_extremes(ops, device, format, path, ratio):
    """NaN stays in its own cells, infinite and very large values saturate, as in float64."""
    p = Problem(format, "bilstm", 16, 1, 9, 10)
    x, largest = p.inputs["x"], torch.finfo(p.dtype).max
    x[0, 0, 4, 4, 3, 1] = torch.nan
    x[1, 0, 8, 0, 2], x[1, 0, 3, 3, 1] = torch.inf, -torch.inf
    x[0, 0, 0, 0, 5] = torch.tensor([-200, 200, -largest, 200])
    x[0, 0, 1, 1, 6] = torch.tensor([200, -200, 200, -200])
    expected = REFERENCE.line_scan(*(t.double() for t in p.inputs.values()), None, None, None, 1, True, False)
    got = ops.recurrence(*(t.to(device) for t in p.inputs.values()), True, False, path, format == "tf32")
    for name, a, b in zip(("h", "c", "gates"), expected, got):
        is_nan = a.isnan()
        assert is_nan.any() and torch.equal(is_nan, b.cpu().isnan()), name
        assert_close(name, a[~is_nan], b.cpu()[~is_nan], ratio)


def same_in_every_launch(ops, device, blocks, launches):
    """Scans of few lines, whose blocks leave while their peers still work: all launches agree to the bit."""
    p = Problem("bf16", "bilstm", SMALLEST[blocks], 16, 2, 2)
    x, weight, h0, c0 = (t.to(device) for t in p.inputs.values())
    options = True, False, f"resident::{blocks}", False

    def launch():
        h, c, gates = ops.recurrence(x, weight, h0, c0, *options)
        return h, c, gates, *ops.recurrence_backward(p.cotangent.to(device), weight, c0, c, gates, *options)

    first = launch()
    return all(torch.equal(a, b) for _ in range(launches) for a, b in zip(first, launch()))
