"""Times the Row LSTM's recurrence alone, and the RowLSTM layer with kernel size 1 beside torch.nn.LSTM."""

import sys
from dataclasses import replace
from functools import partial

import torch

import pixelrnn_ext as px
from harness.command import main
from harness.requirements import Target
from pixelrnn_ext.benchmark import baselines, problems
from pixelrnn_ext.benchmark.problems import BASELINE, FLOOR, LSTM, NATIVE, Case, Differentiable, Problem, Size

recurrence = partial(problems.recurrence_problem, diagonal=False)


def layer(size: Size, dtype: torch.dtype, backends: tuple[str, ...] = (NATIVE,)) -> Problem:
    """With kernel size 1 and no mask, a RowLSTM equals torch.nn.LSTM along each column of an image."""
    torch.manual_seed(0)
    hidden = size.hidden
    x, dy = size.map(hidden, dtype), size.map(hidden, dtype)
    loop = px.RowLSTM(hidden, hidden, kernel_size=1, mask_type=None, backend="reference", dtype=dtype)

    lstm = torch.nn.LSTM(hidden, hidden, dtype=dtype)
    with torch.no_grad():
        for theirs, ours in zip(lstm.parameters(), (loop.weight_ih, loop.weight_hh, loop.bias)):
            theirs.copy_(ours.view_as(theirs))
        lstm.bias_hh_l0.zero_()

    # Makes each column a sequence: (N, C, H, W) becomes (H, N * W, C).
    def columns(t):
        return t.permute(2, 0, 3, 1).reshape(size.height, -1, hidden)

    def to_maps(y, dx, dw_ih, dw_hh, db, _):
        maps = [t.view(size.height, size.batch, size.width, hidden).permute(1, 3, 0, 2) for t in (y, dx)]
        return *maps, dw_ih[:, :, None, None], dw_hh[:, :, None], db

    names = ["input", "weight_ih", "weight_hh", "bias"]
    inputs = [columns(x), *lstm.parameters()]
    nn_lstm = Differentiable(LSTM, lambda x, *_: lstm(x)[0], inputs, columns(dy), names, to_maps)
    nchw = problems.from_layer(f"{NATIVE}, NCHW", problems.with_backend(loop, NATIVE), x, dy)
    others = [nn_lstm, nchw, baselines.gemm_floor(size.cells, 2 * hidden, hidden, dtype)]
    return problems.layer_problem(loop, x, dy, backends, others)


ROW_3 = Case("row k=3", Size(16, 28, 28, 64), partial(recurrence, taps=3))
ROW_1 = Case("row k=1", Size(16, 28, 28, 64), partial(recurrence, taps=1))
LAYER = Case("RowLSTM layer k=1", Size(16, 28, 28, 64), layer, threads=(1, 2), against=(BASELINE, LSTM))
CASES = [ROW_3, ROW_1, replace(ROW_3, size=Size(16, 28, 28, 16)), LAYER]
TARGETS = [
    Target(ROW_3, NATIVE, FLOOR, at_most=0.95),
    Target(ROW_3, NATIVE, BASELINE, faster=3),
    *(Target(LAYER, NATIVE, LSTM, faster=1, threads=n) for n in (1, 2)),
]

if __name__ == "__main__":
    sys.exit(main(__file__, __doc__, CASES, TARGETS))
