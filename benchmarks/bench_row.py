"""Times the Row LSTM's recurrence alone, and the RowLSTM layer with kernel size 1 beside torch.nn.LSTM."""

import sys
from dataclasses import replace
from functools import partial

import torch

import pixelrnn_ext as px
from harness.command import main
from harness.in_jax import JAX, with_jax
from harness.requirements import Target, ThreadsTarget
from pixelrnn_ext.benchmark import gpu, problems
from pixelrnn_ext.benchmark.problems import (
    AS_WRITTEN,
    BASELINE,
    LSTM,
    LSTM_BF16,
    NATIVE,
    NATIVE_BF16,
    Case,
    Differentiable,
    Problem,
    Size,
)
from pixelrnn_ext.benchmark.products import Products

recurrence = partial(problems.recurrence_problem, diagonal=False)


def layer(size: Size, dtype: torch.dtype, backends: tuple[str, ...] = (NATIVE,), taps: int = 1) -> Problem:
    """With one tap and no mask, a RowLSTM equals torch.nn.LSTM along each column of an image.

    torch.nn.LSTM gets its input as (H, N * W, C), in which its own products are fastest.
    """
    torch.manual_seed(0)
    hidden = size.hidden
    x, dy = size.map(hidden, dtype), size.map(hidden, dtype)
    loop = px.RowLSTM(hidden, hidden, kernel_size=taps, mask_type=None, backend="reference", dtype=dtype)

    def lstm(dtype):
        lstm = torch.nn.LSTM(hidden, hidden, dtype=dtype)
        with torch.no_grad():
            for theirs, ours in zip(lstm.parameters(), (loop.weight_ih, loop.weight_hh, loop.bias)):
                theirs.copy_(ours.view_as(theirs))
            lstm.bias_hh_l0.zero_()
        return lstm

    # Makes each column a sequence: (N, C, H, W) becomes (H, N * W, C).
    def columns(t):
        return t.permute(2, 0, 3, 1).reshape(size.height, -1, hidden)

    def to_maps(y, dx, dw_ih, dw_hh, db, _):
        maps = [t.view(size.height, size.batch, size.width, hidden).permute(1, 3, 0, 2) for t in (y, dx)]
        return *maps, dw_ih[:, :, None, None], dw_hh[:, :, None], db

    names = ["input", "weight_ih", "weight_hh", "bias"]

    def nn_lstm(name, dtype):
        theirs = lstm(dtype)
        inputs = [columns(x).to(dtype), *theirs.parameters()]
        return Differentiable(name, lambda x, *_: theirs(x)[0], inputs, columns(dy).to(dtype), names, to_maps)

    products = Products(size.cells, 2 * taps * hidden, 4 * hidden)
    others = [nn_lstm(LSTM, dtype), nn_lstm(LSTM_BF16, torch.bfloat16)] if taps == 1 else []
    return problems.layer_problem(loop, x, dy, products, backends, others)


def case(kind: str, size: Size, build, taps: int, **options) -> Case:
    return with_jax(Case(f"{kind} k={taps}", size, partial(build, taps=taps), **options), diagonal=False, taps=taps)


ROW_3, ROW_1 = (case("row", Size(16, 28, 28, 64), recurrence, taps) for taps in (3, 1))
LAYER = case("RowLSTM layer", Size(16, 28, 28, 64), layer, 1, threads=(1, 2), against=(BASELINE, LSTM))
LAYER_3 = case("RowLSTM layer", Size(1, 32, 32, 128), layer, 3, in_default=False, against=(BASELINE,))
# Layers for bfloat16. One image is a batch of `width` sequences for torch.nn.LSTM.
LAYERS_BF16 = [
    replace(LAYER, size=size, in_default=False)
    for size in (Size(1, 32, 32, 512), Size(1, 32, 32, 128), Size(16, 28, 28, 256))
]
ONE_IMAGE = LAYERS_BF16[1]
CASES = [ROW_3, ROW_1, replace(ROW_3, size=Size(16, 28, 28, 16)), LAYER, *LAYERS_BF16, LAYER_3]
TARGETS = [
    Target(ROW_3, NATIVE, BASELINE, faster=3),
    *(Target(LAYER, NATIVE, LSTM, faster=1, threads=n) for n in (1, 2)),
    Target(ONE_IMAGE, NATIVE, LSTM, faster=1.3),
    Target(LAYER_3, NATIVE, JAX, faster=1.5),
    Target(LAYER, NATIVE_BF16, NATIVE, at_most=0.65),
    *(Target(case, NATIVE_BF16, LSTM_BF16, faster=1.2) for case in LAYERS_BF16),
    *(ThreadsTarget(case, threads=8, against=2, at_most=1.5) for case in CASES),
]
GPU_CASES = [
    *gpu.cases(
        "row k=3",
        partial(gpu.recurrence, build=partial(recurrence, taps=3), diagonal=False),
        gpu.Scans(False, 3),
        others=(AS_WRITTEN,),
    ),
    *gpu.cases("RowLSTM layer k=1", partial(gpu.layer, build=layer), gpu.Scans(False, 1), others=(LSTM,)),
]

if __name__ == "__main__":
    sys.exit(main(__file__, __doc__, CASES, TARGETS, gpu_cases=GPU_CASES))
