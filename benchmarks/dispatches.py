"""Counts the torch operations that each layer dispatches on a CPU and on a GPU. Needs no GPU.

A count is `operations + views`. Memory allocations count as views. The columns `cpu` and `gpu` count a scan as one
operation, and `gpu, inside` counts the operations and kernels inside it.
"""

import itertools
from functools import partial
from unittest import mock

import torch

import pixelrnn_ext as px
from harness.fake_kernels import scan_kernels
from harness.operator_counter import ALLOCATION, OPERATOR, VIEW, OperatorCounter
from pixelrnn_ext.benchmark.tables import grid
from pixelrnn_ext.operators import backends

PHASES = "forward", "backward"
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


def count(case, device, inside):
    layer = CASES[case](device=device)
    x = torch.randn(2, 8, 5, 6, device=device, requires_grad=True)
    sizes = [torch.tensor([(5, 6), (3, 4)], device=device)] if case.endswith(SIZES) else []
    counter = OperatorCounter()
    counter.kernels = scan_kernels(counter.launched) if inside else {}
    with counter, counter.phases("forward"):
        y = layer(x, *sizes)
    cotangent = torch.ones_like(y)
    with counter, counter.phases("backward"):
        torch.autograd.grad(y, [x, *layer.parameters()], cotangent)
    return {phase: [counter.total(phase, OPERATOR), counter.total(phase, VIEW, ALLOCATION)] for phase in PHASES}


def counts():
    """Returns {case: {column: [operations, views]}}."""
    # The device "meta" stands in for a GPU. torch cannot run the backward of fake CUDA tensors without a GPU.
    places = {"cpu": ("cpu", False), "gpu": ("meta", False), "gpu, inside": ("meta", True)}
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
