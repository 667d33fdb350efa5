"""Counts the torch operations that each layer dispatches on a CPU and on a GPU. Needs no GPU.

A count is `operations + views`. Memory allocations count as views. The columns `cpu` and `gpu` count a scan as one
operation, and `gpu, inside` counts the operations and kernels inside it.
"""

import itertools
from functools import partial
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode

import pixelrnn_ext as px
from pixelrnn_ext.benchmark.tables import grid
from pixelrnn_ext.operators import backends
from pixelrnn_ext.operators.scan import gpu
from pixelrnn_ext.operators.scan.arguments import Scan

LAYERS = {
    "row": px.RowLSTM,
    "row of 5": partial(px.RowLSTM, kernel_size=5, mask_type=None),
    "diagonal": px.DiagonalLSTM,
    "BiLSTM": px.DiagonalBiLSTM,
    "LSTM2d": partial(px.LSTM2d, directions=1),
    "LSTM2d, maps of 2": partial(px.LSTM2d, directions=("tl", "tr"), merge=None),
    "LSTM2d, sum of 2": partial(px.LSTM2d, directions=("tl", "tr"), merge="sum"),
    "LSTM2d, all of 4": px.LSTM2d,
    "LSTM2d, mean of 4": partial(px.LSTM2d, merge="mean"),
    "LSTM2d, four gates": partial(px.LSTM2d, cell="pixelrnn"),
    "LSTM2d, four gates, sum of 4": partial(px.LSTM2d, cell="pixelrnn", merge="sum"),
    "LSTM2d, peepholes": partial(px.LSTM2d, cell="graves", peepholes=True),
}
PARAMETERS = {"": dict(bias=False), ", bias": dict(), ", states": dict(initial_state="learned")}
SIZES = ", sizes"
CASES = {
    layer + parameters + sizes: partial(make, 8, 16, **options)
    for (layer, make), (parameters, options) in itertools.product(LAYERS.items(), PARAMETERS.items())
    for sizes in (["", SIZES] if "LSTM2d" in layer else [""])
}


class Dispatches(TorchDispatchMode):
    """Counts operations and views. `kernels` maps operators to Python implementations, whose operations are counted
    instead."""

    def __init__(self, kernels):
        super().__init__()
        self.kernels, self.counts = kernels, [0, 0]

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._schema.name
        if name in self.kernels:
            with self:
                return self.kernels[name](*args)
        if any("Tensor" in str(result.type) for result in func._schema.returns):
            aliases = any(result.alias_info and not result.alias_info.is_write for result in func._schema.returns)
            self.counts[aliases or name.startswith(("aten::_unsafe_view", "aten::empty", "aten::new_empty"))] += 1
        return func(*args, **(kwargs or {}))


class FakeKernels:
    """Stands in for the compiled CUDA kernels that operators/scan/gpu.py calls. Computes nothing.

    Copies operands that are not contiguous, as the compiled kernels do. With four gates and several directions, it also
    copies the hidden states h, or their gradient.
    """

    READ = "x", "weight_hh", "h0", "c0", "peephole"  # operands that the recurrence's kernel reads
    # The function gpu.register() reads the schemas of scan and scan_gradients, so this class has the real operators of
    # these names.
    scan, scan_gradients = torch.ops.pixelrnn_ext.scan, torch.ops.pixelrnn_ext.scan_gradients

    def recurrence(self, *scan):
        s = Scan(*scan)
        s = s.with_operands({k: v.contiguous() for k, v in s.operands.items() if k in self.READ})
        (directions, _, hidden, gates, _), maps = s.weight_hh.shape, s.x.shape[:4]
        h = _launch(s.x, (*maps[1:], directions, hidden), s.sizes)
        h = h.clone() if gates == 4 and directions > 1 else h
        return h, s.x.new_empty(*maps, hidden), s.x.new_empty(*maps, gates * hidden)

    def recurrence_backward(self, dh, c, gates, *scan):
        s = Scan(*scan)
        dh, c, gates, *_ = _dense(dh, c, gates, s.weight_hh, s.c0, s.peephole, s.sizes)
        directions, images, height, width, hidden = c.shape
        dh = dh.clone() if s.weight_hh.shape[3] == 4 and directions > 1 else dh
        left = c.new_empty(directions, images, height if s.diagonal else width, hidden)
        above = c.new_empty(directions, images * (s.weight_hh.shape[3] == 5), hidden)
        return _launch(dh, gates.shape, s.sizes), left, above

    def neighbour_states(self, h, h0, sizes, corners, diagonal, taps, first, count):
        *maps, directions, hidden = _dense(h)[0].shape
        return _launch(h, (directions, *maps, count, hidden))

    def border_sums(self, dx, sizes, corners, diagonal, taps):
        directions, images, _, _, rows = _dense(dx)[0].shape
        return _launch(dx, (directions, images, taps, rows))


def _dense(*operands):
    return [t.contiguous() if isinstance(t, torch.Tensor) else t for t in operands]


def _launch(like, shape, sizes=None):
    """Stands in for a kernel launch. With ``sizes``, a second operation stands for the kernel that zeroes the
    padding."""
    written = like.new_zeros(shape)
    return written if sizes is None else written.zero_()


def gpu_kernels():
    """Returns {operator's name: implementation that gpu.py registers for a GPU}.

    The implementations call the class FakeKernels in place of the compiled kernels.
    """
    kernels, torch.ops.dispatches = {}, FakeKernels()
    with mock.patch("torch.library.impl", lambda name, _, kernel: kernels.update({name: kernel})):
        gpu.register("dispatches", "cuda")
    return {name.replace("dispatches", "pixelrnn_ext"): kernel for name, kernel in kernels.items()}


def count(case, device, kernels):
    layer = CASES[case](device=device)
    x = torch.randn(2, 8, 5, 6, device=device, requires_grad=True)
    sizes = [torch.tensor([(5, 6), (3, 4)], device=device)] if case.endswith(SIZES) else []
    with Dispatches(kernels) as forward:
        y = layer(x, *sizes)
    cotangent = torch.ones_like(y)
    with Dispatches(kernels) as backward:
        torch.autograd.grad(y, [x, *layer.parameters()], cotangent)
    return {"forward": forward.counts, "backward": backward.counts}


def counts():
    """Returns {case: {column: [operations, views]}}."""
    # The device "meta" stands in for a GPU. torch cannot run the backward of fake CUDA tensors without a GPU.
    places = {"cpu": ("cpu", {}), "gpu": ("meta", {}), "gpu, inside": ("meta", gpu_kernels())}
    with mock.patch.object(backends, "why_not_native", lambda device: None):
        return {
            case: {f"{place} {name}": n for place, setup in places.items() for name, n in count(case, *setup).items()}
            for case in CASES
        }


def table(results):
    columns = list(next(iter(results.values())))
    lines = [[case, *("{} + {}".format(*n[column]) for column in columns)] for case, n in results.items()]
    return grid(["operations + views", *columns], lines, markdown=False)


if __name__ == "__main__":
    print(table(counts()))
