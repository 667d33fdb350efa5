"""Row LSTM: the recurrence alone, and the k = 1 layer beside nn.LSTM. `python benchmarks/bench_row.py --help`"""

import sys
from functools import partial

import torch

import pixelrnn_ext as px
from harness.command import main
from harness.target import Target
from pixelrnn_ext.benchmark import baselines
from pixelrnn_ext.benchmark.problems import (
    BASELINE,
    FLOOR,
    LSTM,
    NATIVE,
    Case,
    Differentiable,
    Problem,
    Size,
    native_recurrence,
    recurrence_problem,
)


def recurrence(size: Size, dtype: torch.dtype, taps: int, natives=None) -> Problem:
    """From the input-to-state map to h. ``natives``: see recurrence_problem."""
    return recurrence_problem(
        size,
        dtype,
        taps=taps,
        natives=natives or {NATIVE: native_recurrence(diagonal=False)},
        good_loop=baselines.row_good_loop,
        loop_as_written=baselines.row_loop_as_written,
        reference=px.reference.row_lstm,
    )


def layer(size: Size, dtype: torch.dtype, backends: tuple[str, ...] = (NATIVE,)) -> Problem:
    """k = 1, unmasked, h -> h channels: the same function as torch.nn.LSTM down the columns, each in its own layout.

    Each of ``backends`` is a provider, and native in NCHW another one.
    """
    torch.manual_seed(0)
    hidden = size.hidden
    x, dy = size.map(hidden, dtype), size.map(hidden, dtype)
    names = ["input", "weight_ih", "weight_hh", "bias"]

    def row_lstm(name, backend, memory_format=torch.contiguous_format, dtype=dtype):
        module = px.RowLSTM(hidden, hidden, kernel_size=1, mask_type=None, backend=backend, dtype=dtype)
        if name != BASELINE:
            module.load_state_dict(parameters)
        inputs = [x.to(dtype).contiguous(memory_format=memory_format), *module.parameters()]
        cotangent = dy.to(dtype).contiguous(memory_format=memory_format)
        return Differentiable(name, lambda x, *_: module(x), inputs, cotangent, names), module.state_dict()

    good_loop, parameters = row_lstm(BASELINE, "reference")

    lstm = torch.nn.LSTM(hidden, hidden, dtype=dtype)
    with torch.no_grad():
        lstm.weight_ih_l0.copy_(parameters["weight_ih"].view_as(lstm.weight_ih_l0))
        lstm.weight_hh_l0.copy_(parameters["weight_hh"].view_as(lstm.weight_hh_l0))
        lstm.bias_ih_l0.copy_(parameters["bias"])
        lstm.bias_hh_l0.zero_()

    def columns(t):  # (N, C, H, W) -> (H, N * W, C)
        return t.permute(2, 0, 3, 1).reshape(size.height, -1, hidden)

    def to_maps(y, dx, dw_ih, dw_hh, db, _):
        maps = [t.view(size.height, size.batch, size.width, hidden).permute(1, 3, 0, 2) for t in (y, dx)]
        return *maps, dw_ih[:, :, None, None], dw_hh[:, :, None], db

    nn_lstm = Differentiable(
        LSTM, lambda x, *_: lstm(x)[0], [columns(x), *lstm.parameters()], columns(dy), names, to_maps
    )
    floors = [baselines.GemmFloor(size.cells, 2 * hidden, hidden, dtype, into_given_memory=g) for g in (False, True)]
    natives = [row_lstm(backend, backend, torch.channels_last)[0] for backend in backends]
    native_nchw, _ = row_lstm("native, NCHW", "native")

    def reference():
        return row_lstm("reference", "reference", dtype=torch.float64)[0].results()

    return Problem([good_loop, nn_lstm, *natives, native_nchw, *floors], reference)


ROW_3 = Case("row k=3", Size(16, 28, 28, 64), partial(recurrence, taps=3))
ROW_1 = Case("row k=1", Size(16, 28, 28, 64), partial(recurrence, taps=1))
LAYER = Case("RowLSTM layer k=1", Size(16, 28, 28, 64), layer, threads=(1, 2), against=(BASELINE, LSTM))
CASES = [ROW_3, ROW_1, Case("row k=3", Size(16, 28, 28, 16), partial(recurrence, taps=3)), LAYER]
TARGETS = [
    Target(ROW_3, NATIVE, FLOOR, at_most=0.95),
    Target(ROW_3, NATIVE, BASELINE, faster=3),
    Target(LAYER, NATIVE, LSTM, faster=1, threads=1),
    Target(LAYER, NATIVE, LSTM, faster=1, threads=2),
]

if __name__ == "__main__":
    sys.exit(main(__file__, __doc__, CASES, TARGETS))
