"""Diagonal LSTM: the recurrence alone, and the DiagonalBiLSTM layer. `python benchmarks/bench_diag.py --help`"""

import sys

import torch

import pixelrnn_ext as px
from harness import baselines
from harness.command import main
from harness.problems import (
    AS_WRITTEN,
    BASELINE,
    FLOOR,
    NATIVE,
    Case,
    Differentiable,
    Problem,
    Size,
    Target,
    native_recurrence,
    recurrence_problem,
)


def recurrence(size: Size, dtype: torch.dtype, natives=None) -> Problem:
    """One direction, from the input-to-state map to h. ``natives``: see recurrence_problem."""
    return recurrence_problem(
        size,
        dtype,
        taps=2,
        natives=natives or {NATIVE: native_recurrence(diagonal=True)},
        good_loop=baselines.diagonal_good_loop,
        loop_as_written=baselines.diagonal_loop_as_written,
        reference=px.reference.diagonal_lstm,
    )


def layer(size: Size, dtype: torch.dtype, backends: tuple[str, ...] = (NATIVE,)) -> Problem:
    """Both directions with the input convolution, 2h -> h channels. Each of ``backends`` is a provider."""
    torch.manual_seed(0)
    channels, hidden = 2 * size.hidden, size.hidden
    x, dy = size.map(channels, dtype), size.map(hidden, dtype)
    layers = {
        name: px.DiagonalBiLSTM(channels, hidden, backend=backend, dtype=dtype)
        for name, backend in ((BASELINE, "reference"), *((backend, backend) for backend in backends))
    }
    parameters = layers[BASELINE].state_dict()
    names = ["input", *parameters]

    def provider(name):
        layers[name].load_state_dict(parameters)
        memory_format = torch.contiguous_format if name == BASELINE else torch.channels_last
        return Differentiable(
            name,
            lambda x, *_, layer=layers[name]: layer(x),
            [x.contiguous(memory_format=memory_format), *layers[name].parameters()],
            dy.contiguous(memory_format=memory_format),
            names,
        )

    def reference():
        exact = px.DiagonalBiLSTM(channels, hidden, backend="reference", dtype=torch.float64)
        exact.load_state_dict(parameters)
        return Differentiable(
            "reference", lambda x, *_: exact(x), [x.double(), *exact.parameters()], dy.double(), names
        ).results()

    floors = [
        baselines.GemmFloor(size.cells, 2 * hidden + channels, hidden, dtype, directions=2, into_given_memory=given)
        for given in (False, True)
    ]
    return Problem([*map(provider, layers), *floors], reference)


CASES = [
    Case(kind, Size(batch, side, side, hidden), build, in_default=(batch, hidden) != (16, 128), against=against)
    for kind, build, against in (
        ("diagonal", recurrence, (BASELINE, AS_WRITTEN)),
        ("DiagonalBiLSTM layer", layer, (BASELINE,)),
    )
    for batch, side, hidden in ((16, 28, 16), (16, 28, 64), (16, 32, 128), (1, 32, 128))
]
# Of the recurrences, then of the layers.
TARGETS = [
    *(
        Target(case, NATIVE, FLOOR, at_most=floor)
        for case, floor in zip(CASES, (1.2, 0.95, 0.9, 1.05, 1.3, 1.0, 0.9, 1.1))
    ),
    *(Target(case, NATIVE, BASELINE, faster=loop) for case, loop in zip(CASES, (11, 4.5, 4, 5))),
]

if __name__ == "__main__":
    sys.exit(main(__file__, __doc__, CASES, TARGETS))
