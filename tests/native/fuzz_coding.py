"""Calls the operators of sampling and coding with randomly damaged arguments: `python fuzz_coding.py LIBRARY CALLS`.

Each call must return, or raise one of the exceptions REFUSALS. test_checks.py builds LIBRARY with sanitizers, which end
the program if an operator accesses memory that is not its own.
"""

import random
import sys
from contextlib import suppress

import torch

REFUSALS = (RuntimeError, TypeError, ValueError)
WHOLE = 2**24  # total of all probabilities (csrc/cpu/range_coder.h)
FULL_RANGE = -1  # range of a stream before decoding: 64 set bits, as a signed number
LARGEST = 2**63 - 1
DTYPES = [torch.float16, torch.float32, torch.float64, torch.bool, torch.uint8, torch.int32, torch.int64]
DTYPES += [torch.complex64, torch.complex128]

rng, ops = random.Random(0), torch.ops.pixelrnn_ext


def one_in(n):
    return rng.randrange(n) == 0


def huge():
    return min(2 ** rng.choice([24, 31, 32, 40, 48, 57, 62, 63]) + rng.randint(-1, 1), LARGEST)


def extreme():
    """Returns a random integer near a limit of valid values, of buffer sizes or of int64."""
    kind = rng.randrange(4)
    return [rng.randint(-2, 9), rng.choice([16, 64, 65, 256, 4096]), huge(), -huge() - 1][kind]


def zeros(sizes, dtype):
    """If one of the sizes is 0, the other sizes may be huge."""
    if 0 in sizes:
        return torch.empty([min(size, 1) for size in sizes], dtype=dtype).expand([min(n, LARGEST) for n in sizes])
    return torch.zeros(sizes, dtype=dtype)


FORMS = [
    lambda t: t.to(rng.choice(DTYPES)),
    lambda t: t.to("meta"),
    lambda t: t.to_sparse(),
    torch._neg_view,
    lambda t: t.transpose(0, -1),
    lambda t: t[..., ::2],
    lambda t: t[..., :1].clone().expand(t.shape),
    lambda t: t[:1].clone().expand(t.shape),
    lambda t: t[1:].clone(),
    lambda t: t[..., 1:].clone(),
    lambda t: t.repeat_interleave(2, rng.randrange(t.dim())),
    lambda t: t.flatten(),
    lambda t: t[None],
    lambda t: t[:0],
    lambda t: t[..., :0],
    lambda t: zeros(rng.sample([0, 3, huge(), huge()], t.dim()), t.dtype),
]


def change_form(tensor):
    return rng.choice(FORMS)(tensor)


def corrupt(tensor):
    number = tensor[tuple(rng.randrange(size) for size in tensor.shape)]
    if tensor.dtype == torch.int64:
        number.fill_(extreme())
    elif tensor.dtype == torch.bool:
        number.view(torch.uint8).fill_(rng.randrange(256))
    elif tensor.is_floating_point():
        number.fill_(rng.choice([float("nan"), float("inf"), float("-inf"), 6e4, -6e4, 0.0]))
    return tensor


class Columns:
    """A call of run_columns, the operator for an image row, with steps of all kinds."""

    def __init__(self):
        self.dtype = rng.choice([torch.float32, torch.float64])
        self.margin, self.temperature = rng.randint(0, 2), rng.choice([0.0, 0.7, 1.0])
        self.on_grid = self.dtype == torch.float64 and one_in(2)
        self.columns, self.images = self.margin + rng.randint(1, 3), rng.choice([0, 1, 2, 3, 7])
        self.colours, self.levels = rng.randint(1, 3), rng.choice([2, 2, 3, 7, 300])
        self.wide, self.hidden = rng.choice([0, 1, 3, 64, 70]), rng.choice([0, 1, 3, 16, 20])
        if one_in(10):
            first, *others = rng.sample(["columns", "images", "colours", "wide", "hidden"], 3)
            vars(self).update({first: 0} | {other: huge() for other in others})
        self.tensors, self.code = [], []
        self.make_program()
        self.data = torch.tensor([rng.randrange(256) for _ in range(rng.randrange(40))], dtype=torch.uint8)
        count, n = rng.randint(1, 3), len(self.data)
        self.streams = torch.tensor([self.stream(s, count, n) for s in range(count)])
        if one_in(10):
            self.streams = self.data = None

    @property
    def reaches_kernels(self):
        return self.images > 0 and len(self.code) > 0

    def stream(self, s, count, n):
        first, last = self.images * s // count, self.images * (s + 1) // count
        return [first, last, rng.randint(-(2**63), LARGEST), FULL_RANGE, n * s // count, n * (s + 1) // count]

    def buffer(self, channels, dtype=None, below=None):
        tensor = zeros([self.columns, self.images, channels], dtype or self.dtype)
        if 0 not in tensor.shape:
            tensor.copy_(torch.randint(below, tensor.shape) if below else torch.randn(tensor.shape))
        return self.add(tensor)

    def packed(self, outputs, gates, channels):
        block = ops.column_block(gates, self.dtype == torch.float64)
        weights = -(-outputs // block) * channels * gates * block
        return self.add(torch.ones(min(weights, 2**16), dtype=self.dtype)), block

    def add(self, tensor):
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def make_program(self):
        step = ops.column_step
        wide, hidden, colours, levels = self.wide, self.hidden, self.colours, self.levels
        image, base, out = self.buffer(colours), self.buffer(wide), self.buffer(wide)
        gates, c, h, total = (self.buffer(channels) for channels in (4 * hidden, hidden, hidden, hidden))
        logits, uniform = self.buffer(colours * (levels if levels > 2 else 1)), self.buffer(colours, torch.float64)
        values, intervals = (self.buffer(colours, torch.int64, below=levels) for _ in range(2))
        known, scaled = self.buffer(colours, torch.bool, below=2), self.add(torch.ones(levels, dtype=self.dtype))
        back = -min(self.margin, 1)
        for k in range(min(colours, 3)):
            taps = [2, image, back, colours, image, 0, colours]
            self.code += [step("linear"), base, out, 0, wide, rng.randint(0, 1)]
            self.code += [*self.packed(wide, 1, 2 * colours), *taps]
            taps = [2, out, 0, wide, h, back, hidden]
            self.code += [step("cell"), gates, c, back, c, h, h, total, 0, hidden]
            self.code += [*self.packed(hidden, 4, wide + hidden), *taps]
            self.code += [step("pointwise"), out, rng.choice([-1, base]), out, 0, wide, rng.randint(0, 1)]
            value = rng.choice(["draw", "encode", "decode"])
            operands = dict(draw=[uniform, known, values], encode=[values, intervals], decode=[known, values])[value]
            self.code += [step(value), logits, *operands, scaled, image, k]

    def damage(self):
        rng.choice([self.damage_code, self.damage_tensors, self.damage_streams, self.damage_rest])()

    def damage_code(self):
        code, i = self.code, rng.randrange(len(self.code) + 1)
        old = rng.choice(code)
        number = rng.choice([extreme(), rng.randrange(len(self.tensors)), rng.choice(code)])
        self.code = rng.choice(
            [
                [*code[:i], number, *code[i:]],
                [*code[:i], number, *code[i + 1 :]],
                [*code[:i], *code[i + 1 :]],
                [number if x == old else x for x in code],
                # The doubled program runs all steps twice, so its second half starts from results of its first half.
                code * 2,
            ]
        )

    def damage_tensors(self):
        i = rng.randrange(len(self.tensors))
        change = rng.choice([corrupt, corrupt, change_form, change_form, lambda _: rng.choice(self.tensors)])
        self.tensors[i] = change(self.tensors[i])
        if one_in(10):
            self.tensors = rng.choice([self.tensors[:i], self.tensors[::-1]])

    def damage_streams(self):
        others = [change_form, lambda _: None, lambda t: t.flip(0), lambda t: torch.cat([t, t]), lambda t: t[:0]]
        self.streams = rng.choice([corrupt, rng.choice(others)])(self.streams)

    def damage_rest(self):
        name, value = rng.choice(
            [
                ("margin", extreme()),
                ("temperature", rng.choice([float("nan"), float("inf"), -1.0, 1e-300])),
                ("on_grid", not self.on_grid),
                ("data", rng.choice([lambda _: None, lambda t: t[:1].clone(), change_form])(self.data)),
            ]
        )
        setattr(self, name, value)

    def run(self):
        ops.run_columns(self.tensors, self.code, self.margin, self.temperature, self.on_grid, self.streams, self.data)


class RangeEncode:
    reaches_kernels = True

    def __init__(self):
        ends = [sorted(rng.sample(range(WHOLE + 1), 2)) for _ in range(rng.randrange(50))]
        self.intervals = torch.tensor([start << 32 | stop for start, stop in ends], dtype=torch.int64)

    def damage(self):
        self.intervals = rng.choice([corrupt, change_form])(self.intervals)

    def run(self):
        ops.range_encode(self.intervals)


class RoundToGrid:
    reaches_kernels = True

    def __init__(self):
        self.x, self.bits, self.limit = torch.randn(rng.randrange(20), dtype=torch.float64), 14, 256.0

    def damage(self):
        self.x = rng.choice([corrupt, change_form])(self.x)
        self.bits, self.limit = rng.choice([14, extreme()]), rng.choice([256.0, float("nan"), float("inf"), -1.0])

    def run(self):
        ops.round_to_grid(self.x, self.bits, self.limit)


def create(kind):
    while True:
        with suppress(*REFUSALS):  # torch refuses huge buffers
            return kind()


def main(library, calls):
    torch.ops.load_library(library)
    torch.manual_seed(0)
    reached = refused = 0
    for _ in range(int(calls)):
        ops.set_instruction_set(rng.randrange(3))  # has no effect if this CPU lacks the instruction set
        call = create(rng.choice([RangeEncode, RoundToGrid]) if one_in(4) else Columns)
        for _ in range(rng.choice([0, 1, 1, 2, 3])):
            # damage() may fail for a tensor that an earlier damage() has changed.
            with suppress(*REFUSALS, IndexError, AttributeError):
                call.damage()
        try:
            call.run()
        except REFUSALS:
            refused += 1
        else:
            reached += call.reaches_kernels
    print(f"{reached} calls reached the kernels, {refused} were refused")
    if min(reached, refused) < int(calls) / 5:
        raise SystemExit("expected a fifth of the calls to reach the kernels, and a fifth to be refused")


main(*sys.argv[1:])
